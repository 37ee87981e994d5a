"""Asynchronous invocation: from the queue to the one path, again where AWS would."""
