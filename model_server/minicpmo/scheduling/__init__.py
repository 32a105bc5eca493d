"""Which work of which call runs next, and what runs together."""
