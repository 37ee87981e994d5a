"""The HTTP/1.1 core: one class per lifetime (server → connection → exchange).

It knows nothing of AWS.  An application is a callable that is handed an Exchange as soon as the
request's head is in, and answers through it, now or later.
"""

from lambent.http.door import Door
from lambent.http.exchange import BodyTooLarge, ClientGone, Exchange
from lambent.http.server import Application, HttpLimits, HttpServer
from lambent.http.spool import Received

__all__ = [
    "Application",
    "BodyTooLarge",
    "ClientGone",
    "Door",
    "Exchange",
    "HttpLimits",
    "HttpServer",
    "Received",
]
