"""Metadata: documents with revisions, changed one at a time by compare-and-swap."""
