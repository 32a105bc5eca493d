"""`python -m realtime`: the whole service in one command. Exit status 2: it cannot start as it was asked to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence

import structlog

import certs
from realtime.service import logs
from realtime.service.banner import banner
from realtime.service.configuration import ConfigurationError, load, unknown_variables
from realtime.service.listeners import ListenError, Listeners, open_listeners
from realtime.service.settings import Settings

CANNOT_START = 2
log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted; returns the exit status."""
    try:
        settings = load(sys.argv[1:] if arguments is None else arguments, os.environ)
        logs.configure(settings.log_level, settings.log_format)
        for line in unknown_variables(os.environ):
            log.warning("unknown_variable", problem=line)
        bundle = _certificates(settings)
        listeners = open_listeners(settings)
    except (ConfigurationError, certs.CertificateError, ListenError) as error:
        return _cannot_start(str(error))
    _say_where(settings, listeners, bundle)
    with contextlib.closing(listeners):
        return _run(settings, listeners, bundle)


def _certificates(settings: Settings) -> certs.Bundle | None:
    return (
        certs.ensure(settings.certificate_folder or certs.default_folder(), settings.names) if settings.https else None
    )


def _run(settings: Settings, listeners: Listeners, bundle: certs.Bundle | None) -> int:
    # Media and web libraries take their time to load: the addresses are on the screen before that.
    from realtime.call.factory import SessionCalls
    from realtime.service.child import ChildUnusable
    from realtime.service.serving import Start, serve

    start = Start(settings, listeners, bundle, on_ready=lambda: _say_ready(settings))

    async def until_stopped() -> None:
        await serve(start, _stop_on_signals(), SessionCalls)

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(until_stopped())
    except ChildUnusable as error:
        return _cannot_start(f"cannot start the model server: {str(error).removeprefix('model server: ')}")
    return 0


def _stop_on_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once (the child follows by itself)."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _say_where(settings: Settings, listeners: Listeners, bundle: certs.Bundle | None) -> None:
    if settings.log_format == "json":
        facts = {name: each.port for name, each in listeners.named().items()}
        fingerprint = bundle.fingerprint_sha256 if bundle is not None else None
        log.info("listening", host=settings.host, **facts, fingerprint=fingerprint)
    else:
        print(banner(settings.host, listeners, bundle), "Getting ready ...", sep="\n", flush=True)


def _say_ready(settings: Settings) -> None:
    if settings.log_format == "json":
        log.info("ready")
    else:
        print("Ready. Ctrl-C ends it.", flush=True)


def _cannot_start(why: str) -> int:
    print(why, file=sys.stderr)
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
