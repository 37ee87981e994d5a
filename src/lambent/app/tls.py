"""The certificate that the public port is served with."""

from __future__ import annotations

import ssl
from pathlib import Path

from lambent.config import Settings
from lambent.errors import StartError


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 and later with the certificate of the settings; None without one.

    Raises StartError where certificate or key cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if not (certificate or key):
        return None
    if not (certificate and key):
        raise StartError("tls_certificate and tls_key go together; one of them is missing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a callback OpenSSL would ask the terminal for the password of a key.
        paths = (Path(certificate).expanduser(), Path(key).expanduser())
        context.load_cert_chain(*paths, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise StartError(f"the certificate {certificate} cannot be used: {reason}") from error
    return context
