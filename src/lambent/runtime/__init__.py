"""The side of an execution environment that the function's process talks to."""
