"""A body that arrives in pieces, held to what its request's signature says of it.

Pure.  Source of the rules: Amazon S3 API Reference, "Signature calculations: transferring a payload
in multiple chunks".
"""

from __future__ import annotations

import hashlib
import hmac
import re

from lambent.aws import sigv4
from lambent.aws.sigv4 import (
    ALGORITHM,
    EMPTY_SHA256,
    HEX64,
    MISMATCH,
    UNSIGNED,
    Claim,
    SignatureError,
    SigningKey,
    sha256,
)

_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?")
_LONGEST_CHUNK = 16 * 1024 * 1024
_LONGEST_TRAILER = 16 * 1024
SIGNED_STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_STREAM_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_STREAM_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_STREAMS = (SIGNED_STREAM, SIGNED_STREAM_TRAILER, UNSIGNED_STREAM_TRAILER)


class ChunkDecoder:
    """Decodes an aws-chunked body, verifying each chunk's signature where chunks are signed.

    Feed it bytes as they arrive; it returns the decoded bytes whose signatures were right and
    raises SignatureError at the first that is wrong.  ``done`` tells whether the last chunk came;
    ``end`` wants it to have, and verifies the trailer where one is signed.
    """

    def __init__(self, claim: Claim, key: SigningKey, signed: bool, trailer: bool = False) -> None:
        self._claim = claim
        self._key = key
        self._signed = signed
        self._trailer = trailer
        self._previous = claim.signature
        self._buffer = b""
        self._head: tuple[int, str] | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Decoded bytes of every chunk that is complete now."""
        self._buffer += data
        out: list[bytes] = []
        while not self.done and self._advance(out):
            pass
        if self.done and len(self._buffer) > _LONGEST_TRAILER:
            raise self._malformed()
        return b"".join(out)

    @property
    def trailers(self) -> dict[str, str]:
        """The headers after the last chunk, names in lower case; ``end`` verifies them."""
        pairs = (line.partition(b":") for line in self._buffer.split(b"\r\n"))
        return {
            name.decode("latin-1").strip().lower(): value.decode("latin-1").strip()
            for name, colon, value in pairs
            if colon and self.done
        }

    def end(self) -> None:
        """The body has ended: raise SignatureError unless it is whole."""
        if not self.done:
            raise self._malformed()
        if not (self._trailer and self._signed):
            return
        lines = [line for line in self._buffer.split(b"\r\n") if line]
        signature = b""
        if lines and lines[-1].lower().startswith(b"x-amz-trailer-signature:"):
            signature = lines.pop().partition(b":")[2].strip()
        text = b"".join(line + b"\n" for line in lines)
        expected = self._key.sign(
            f"{ALGORITHM}-TRAILER\n{self._claim.stamp}\n{self._claim.scope.text}\n"
            f"{self._previous}\n{sha256(text)}"
        )
        if not hmac.compare_digest(expected.encode(), signature):
            raise SignatureError("SignatureDoesNotMatch", MISMATCH)

    def _advance(self, out: list[bytes]) -> bool:
        if self._head is None:
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                if len(self._buffer) > 128:
                    raise self._malformed()
                return False
            match = _CHUNK_HEAD.fullmatch(line)
            if match is None or (self._signed and match[2] is None):
                raise self._malformed()
            size = int(match[1], 16)
            if size > _LONGEST_CHUNK:
                raise self._malformed()
            self._head = (size, (match[2] or b"").decode())
            self._buffer = rest
        size, signature = self._head
        if size and len(self._buffer) < size + 2:
            return False
        chunk = self._buffer[:size]
        if size and self._buffer[size : size + 2] != b"\r\n":
            raise self._malformed()
        if self._signed:
            self._verify(chunk, signature)
        # What follows the last chunk is the trailer.
        self._buffer = self._buffer[size + 2 :] if size else self._buffer
        self._head = None
        self.done = size == 0
        out.append(chunk)
        return True

    def _verify(self, chunk: bytes, signature: str) -> None:
        text = (
            f"{ALGORITHM}-PAYLOAD\n{self._claim.stamp}\n{self._claim.scope.text}\n"
            f"{self._previous}\n{EMPTY_SHA256}\n{sha256(chunk)}"
        )
        expected = self._key.sign(text)
        if not hmac.compare_digest(expected, signature):
            raise SignatureError("SignatureDoesNotMatch", MISMATCH)
        self._previous = signature

    @staticmethod
    def _malformed() -> SignatureError:
        return SignatureError("IncompleteBody", "The aws-chunked body is malformed.", 400)


class BodyCheck:
    """Holds a body that arrives in pieces to what its request's signature says of it.

    declared: its x-amz-content-sha256; believe: verify nothing, decode only.  ``feed`` returns the
    bytes of the body itself, without the framing of aws-chunked; both raise SignatureError.
    """

    def __init__(self, claim: Claim, key: SigningKey, declared: str, believe: bool = False) -> None:
        self._decoder: ChunkDecoder | None = None
        self._digest = None
        self._declared = declared
        if declared in _STREAMS:
            signed = declared != UNSIGNED_STREAM_TRAILER and not believe
            self._decoder = ChunkDecoder(claim, key, signed, declared != SIGNED_STREAM)
        elif believe:
            pass
        elif HEX64.fullmatch(declared):
            self._digest = hashlib.sha256()
        elif declared != UNSIGNED:
            raise SignatureError(
                "InvalidRequest", "The value of x-amz-content-sha256 header is invalid.", 400
            )

    @property
    def is_whole(self) -> bool:
        """Whether the digest of the whole body was signed."""
        return self._digest is not None

    @property
    def trailers(self) -> dict[str, str]:
        """The headers that followed the body."""
        return self._decoder.trailers if self._decoder is not None else {}

    def feed(self, data: bytes) -> bytes:
        """Take a piece."""
        if self._decoder is not None:
            return self._decoder.feed(data)
        if self._digest is not None:
            self._digest.update(data)
        return data

    def end(self) -> None:
        """The body is over."""
        if self._decoder is not None:
            self._decoder.end()
        elif self._digest is not None and not hmac.compare_digest(
            self._digest.hexdigest(), self._declared
        ):
            raise sigv4.hash_mismatch()
