"""What comes in: packets, frames, speech edges, units and pictures."""
