"""The part of the sandbox that runs outside the server process.

These modules are executed by *other* interpreters (each runtime's own, Python 3.8 and later) and
must therefore import nothing but the standard library and each other.  They never see a function's
name, an account's data or the server's memory: they are handed descriptors and a few numbers.
"""
