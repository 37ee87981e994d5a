"""Messages between the server and the processes of this package: one JSON object a datagram.

All sockets are SOCK_SEQPACKET pairs, so a datagram is whole or absent; descriptors travel beside
it.  A datagram is at most 128 KiB and carries at most 16 descriptors.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from typing import Any, Iterable

MAXIMUM = 128 * 1024
_DESCRIPTORS = 16


def send(channel: socket.socket, message: dict[str, Any], descriptors: Iterable[int] = ()) -> None:
    """Send one message; the descriptors stay open here."""
    data = json.dumps(message).encode()
    rights = array.array("i", descriptors)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    channel.sendmsg([data], ancillary)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors (close-on-exec); None when the peer is gone.

    Raises OSError, and keeps no descriptor, for what is not a whole message of at most so many.
    """
    size = socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize)
    data, ancillary, flags, _ = channel.recvmsg(MAXIMUM, size, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            rights = array.array("i")
            rights.frombytes(payload[: len(payload) - len(payload) % rights.itemsize])
            descriptors.extend(rights)
    message = None
    try:
        if data and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            message = json.loads(data)
    except (ValueError, RecursionError):
        pass
    if isinstance(message, dict):
        return message, descriptors
    for descriptor in descriptors:
        os.close(descriptor)
    if data:
        raise OSError(errno.EBADMSG, "a message that is not one")
    return None
