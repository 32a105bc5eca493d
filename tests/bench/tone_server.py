"""`python -m tests.bench.tone_server`: the model server with the engine for measuring; the flags of `model_server`."""

from __future__ import annotations

import sys

from model_server.logs import configure_logs
from model_server.serving import serve
from model_server.settings import load_settings
from tests.bench.tone_engine import ToneEngine

if __name__ == "__main__":
    settings = load_settings(sys.argv[1:])
    configure_logs(settings.log_level, settings.log_format)
    sys.exit(serve(settings, ToneEngine()))
