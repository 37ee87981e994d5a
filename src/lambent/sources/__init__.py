"""What AWS polls for functions: event source mappings at work."""
