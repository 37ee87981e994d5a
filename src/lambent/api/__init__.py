"""The Lambda API (and the part of CloudWatch Logs that shows function logs): one handler each.

A handler takes (context, parameters) and returns the operation's output as plain values.
"""
