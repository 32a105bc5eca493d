"""`python -m model_server`: serve one engine. Exit status 2: the settings are wrong; 1: the engine could not start."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from model_server.logs import configure_logs
from model_server.registry import EngineSetupError, create_engine
from model_server.serving import CannotListen, CannotServe, serve
from model_server.settings import InvalidSettings, load_settings


def main(arguments: Sequence[str]) -> int:
    """Read the settings, make the engine, serve; returns the exit status."""
    try:
        settings = load_settings(arguments)
        configure_logs(settings.log_level, settings.log_format)
        engine = create_engine(settings.engine, settings.engine_options)
        failure = serve(settings, engine)
    except (InvalidSettings, EngineSetupError, CannotListen, CannotServe) as error:
        print(f"model server: {error}", file=sys.stderr)
        return 2
    if failure:
        print(f"model server: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
