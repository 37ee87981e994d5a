"""The composition root: the one place that picks implementations and orders start and stop."""

from lambent.app.host import Host
from lambent.app.server import App

__all__ = ["App", "Host"]
