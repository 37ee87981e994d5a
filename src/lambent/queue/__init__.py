"""Events that wait to be handed to functions: durable, at least once."""
