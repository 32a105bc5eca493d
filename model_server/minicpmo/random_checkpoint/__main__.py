"""`python -m model_server.minicpmo.random_checkpoint SIZE FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_server.minicpmo.random_checkpoint import SIZES, write


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a checkpoint of random weights in the official format.")
    parser.add_argument("size", choices=sorted(SIZES), help="tiny, mid, or full: the official sizes, 17 GB")
    parser.add_argument("folder", type=Path, help="an empty or new folder")
    parser.add_argument("--seed", type=int, default=0, help="weights, merges and places of the special tokens")
    parser.add_argument("--device", default="cpu", help="where the numbers are drawn")
    given = parser.parse_args()
    write(SIZES[given.size], given.folder, seed=given.seed, device=given.device)


if __name__ == "__main__":
    main()
