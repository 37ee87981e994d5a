"""The edge: one port, and behind it the right service for every request."""
