"""`python -m certs`: make or renew the certificates and say how to trust them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from certs.bundle import default_folder, ensure
from certs.errors import CertificateError
from certs.trust import describe


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a CertificateError (told on stderr), 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        bundle = ensure(options.folder.expanduser(), options.name)
    except CertificateError as error:
        print(f"certs: {error}", file=sys.stderr)
        return 1
    print(describe(bundle))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m certs",
        description="Make, or bring up to date, the local CA and the certificate of the HTTPS port.",
    )
    parser.add_argument(
        "--folder", type=Path, default=default_folder(), help="where the certificates are kept (default: %(default)s)"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="one more name or private address of this machine, for example kiosk.local (may be repeated; remembered)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
