"""The ``lambent`` command: one file per command.  It speaks to the server over HTTP only.

Exit codes: 0 fine, 1 the function or the server answered with an error, 2 wrong usage,
3 the server cannot be reached.
"""
