"""Proof against golden vectors: what the published network computes on a small random checkpoint."""
