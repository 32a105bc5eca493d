"""Many calls on one device: how many of them meet every deadline. `python -m tests.bench.calls`."""
