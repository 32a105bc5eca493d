"""What a session remembers: marks to return to, what was heard, what goes when the context is full, silent pictures."""
