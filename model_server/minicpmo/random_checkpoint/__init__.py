"""Checkpoints of random weights in the official format, of any size: for tests and for measuring speed."""

from model_server.minicpmo.random_checkpoint.folder import write, write_descriptions
from model_server.minicpmo.random_checkpoint.sizes import SIZES
from model_server.minicpmo.random_checkpoint.values import RandomTensors

__all__ = ["SIZES", "RandomTensors", "write", "write_descriptions"]
