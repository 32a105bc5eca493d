"""The peer connection of one call and what travels on its channels."""
