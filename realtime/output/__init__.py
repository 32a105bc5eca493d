"""What goes to the loudspeaker: pacing, what was heard, what the echo knows of it."""
