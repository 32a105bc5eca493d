"""Calls written to a file as they happen, and played again: `python -m realtime.replay FILE`."""
