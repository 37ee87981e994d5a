"""What AWS says: service models, validation, wire formats, signatures.  Pure."""
