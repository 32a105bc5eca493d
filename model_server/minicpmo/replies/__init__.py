"""A reply while it is made: tokens, rounds, segments of speech, pieces of sound."""
