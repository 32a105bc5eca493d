"""Who has the floor: turns, replies, holds, and when a silence means something."""
