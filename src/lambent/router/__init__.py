"""The Router seam: on which node an invocation runs."""
