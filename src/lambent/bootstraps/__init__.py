"""The runtimes' own client programs.  They run inside sandboxes, never in the server."""
