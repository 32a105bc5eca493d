"""`python -m model_server.minicpmo.parity DIR`: every golden value against ours; exit status 1 on any miss."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from model_server.minicpmo.errors import ModelError
from model_server.minicpmo.parity.run import prove


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m model_server.minicpmo.parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with checkpoint/ and vectors/")
    parser.add_argument("--misses", action="store_true", help="print only what misses")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="checks that run at once")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # Small sets are quickest so, and every run adds in the same order.
    try:
        report = prove(arguments.folder, max(1, arguments.jobs))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    for row in report.rows:
        if not (arguments.misses and row.holds):
            verdict = "ok" if row.holds else "MISS"
            print(f"{row.file:20} {row.key:44} {row.error:10.3g} {row.tolerance:8.1g} {verdict} {row.detail}".rstrip())
    print(f"{len(report.rows)} comparisons, {len(report.misses)} misses")
    return 1 if report.misses else 0


if __name__ == "__main__":
    sys.exit(main())
