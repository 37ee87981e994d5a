"""Keeping what functions serve to browsers apart from everything else on this host.

A function's pages are hostile.  On AWS every URL is a site of its own, because it is below a public
suffix; here its name is below the server's, or, by path, the server's own.
"""

from __future__ import annotations

import re

Headers = list[tuple[str, str]]

_DOMAIN = re.compile(r";\s*domain\s*=[^;]*", re.IGNORECASE)
# What speaks for a whole origin.
_OF_ORIGIN = {"set-cookie", "clear-site-data", "service-worker-allowed"}
# An origin that nothing else has, and what a page may want all the same.
_APART = (
    "Content-Security-Policy",
    "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts",
)


def confined(headers: Headers, by_path: bool) -> Headers:
    """A response's headers; by_path: the URL was reached under the server's own name."""
    if by_path:
        return [*((n, v) for n, v in headers if n.lower() not in _OF_ORIGIN), _APART]
    return [
        (name, _DOMAIN.sub("", value) if name.lower() == "set-cookie" else value)
        for name, value in headers
    ]
