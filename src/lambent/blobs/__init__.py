"""Large immutable bytes (code, later layers and snapshots), named by their SHA-256."""
