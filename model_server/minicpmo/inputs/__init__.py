"""What is seen and heard, made ready for the encoders."""
