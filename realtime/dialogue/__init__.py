"""The conversation of one call, in the floor's order."""
