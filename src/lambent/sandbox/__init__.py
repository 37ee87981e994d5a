"""Isolation: a backend is handed a SandboxSpec and starts a process that cannot reach out."""
