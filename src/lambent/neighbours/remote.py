"""A real endpoint instead of an embedded service: MinIO, AWS or anything that speaks its API.

Requests are signed again with the credentials of the settings.  All accounts of this server are
that one account there, and the policies of its resources are its own to enforce.
"""

from __future__ import annotations

import logging
import ssl
from urllib.parse import quote, urlencode, urlsplit

from lambent.aws import sigv4
from lambent.clock import Clock, utc
from lambent.http.client import Reply, UpstreamError, send, to_host
from lambent.neighbours.base import Message, NeighbourUnavailable
from lambent.neighbours.subjects.base import Facts

_log = logging.getLogger(__name__)


class Remote:
    """See ``base.Neighbour``; region "" means that of each request."""

    def __init__(
        self,
        endpoint: str,
        access_key_id: str,
        secret: str,
        token: str,
        region: str,
        clock: Clock,
    ) -> None:
        parts = urlsplit(endpoint)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls is not None else 80)
        self._connect = to_host(parts.hostname or "", port, tls)
        self._endpoint = endpoint
        self._host = parts.netloc
        self._credentials = (access_key_id, secret)
        self._token = token or None
        self._region = region
        self._clock = clock

    async def send(self, message: Message) -> Reply:
        """See ``base.Neighbour``."""
        request = message.request
        path = quote(request.path, safe="/-_.~")
        query = urlencode(request.query, quote_via=quote)
        service = message.service.removesuffix("streams")
        headers = {**request.headers, "host": self._host}
        payload = message.payload
        if service == "s3":
            # A body that was signed in pieces was verified here, and is sent in one.
            payload = payload or sigv4.UNSIGNED
            headers["x-amz-content-sha256"] = payload
        if message.length is not None and not isinstance(message.body, bytes):
            headers["content-length"] = str(message.length)
        if message.trace_id:
            headers["x-amzn-trace-id"] = message.trace_id
        signed = sigv4.sign_headers(
            request.method,
            path,
            query,
            headers,
            b"",
            *self._credentials,
            self._region or message.region,
            service,
            utc(self._clock.time()),
            self._token,
            payload,
        )
        target = f"{path}?{query}" if query else path
        try:
            return await send(
                self._connect, request.method, target, list(signed.items()), message.body
            )
        except UpstreamError as error:
            _log.warning("%s did not answer: %s", self._endpoint, error)
            raise NeighbourUnavailable(f"The endpoint of {service} did not answer.") from None

    async def facts(self, service: str, account: str, region: str, about: str) -> Facts:
        """See ``base.Neighbour``: it decides by itself."""
        return Facts()
