"""Execution environments: made, reused, frozen, retired."""
