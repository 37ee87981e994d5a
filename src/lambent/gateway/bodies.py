"""Bodies of requests that must be signed: none is kept for a caller whose head proves nothing."""

from __future__ import annotations

import logging

from lambent.aws import sigv4
from lambent.errors import ServiceFailure
from lambent.http import Exchange, Received
from lambent.iam.authenticate import Authenticator, Principal

_log = logging.getLogger(__name__)

# Up to here a body that has come with its head is taken as it is: it is in memory already.
SMALL_BYTES = 64 * 1024


async def receive(
    authenticator: Authenticator, exchange: Exchange, claim: sigv4.Claim | None, limit: int
) -> tuple[Principal, Received]:
    """The caller of a request, proved, and its body, of limit bytes at most.

    As much of the signature as the head can prove is verified before any of the body is read, the
    rest before any of it is loaded.  Raises what ``Authenticator.authenticate`` does, BodyTooLarge,
    ClientGone, and ServiceFailure where the disk is full.  The body must be loaded or closed.
    """
    head = (exchange.method, exchange.path, exchange.query, exchange.headers)
    settle = authenticator.authenticate_head(claim, *head)
    try:
        received = await exchange.receive(limit)
    except OSError as error:
        _log.error("a large body cannot be kept: %s", error)
        raise ServiceFailure from None
    try:
        return settle(received.sha256), received
    except BaseException:
        received.close()
        raise
