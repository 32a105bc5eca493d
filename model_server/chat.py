"""`python -m model_server.chat`: one question, or a conversation, with the model. Exit status 2: wrong input.

    python -m model_server.chat --model DIR --image a.jpg --audio q.wav --text "What is it?" --speak out.wav

What is given with --image, --audio, --video and --text is one message, in that order, and may be repeated. With none of
them every line of standard input is a message. The reply is written to standard output while it is made.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from model_server.minicpmo.request import Request

MODES = ("omni", "audio_assistant", "audio_roleplay", "voice_cloning")
TASKS = (
    "mimick",
    "transcribe-en",
    "transcribe-zh",
    "translate",
    "speaker-analysis",
    "sound-caption",
    "scene-tag",
    "read-text-in-voice",
    "speak-as-instructed",
)


class _Given(argparse.Action):
    """Keeps what options of several names brought in one list, in their order."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # type: ignore[no-untyped-def]
        given = [*(getattr(namespace, self.dest) or []), (str(option_string).removeprefix("--"), values)]
        setattr(namespace, self.dest, given)


def parse(arguments: Sequence[str]) -> Request:
    """The request; on a wrong option the process ends with status 2 and one line that says why."""
    parser = _parser()
    found = parser.parse_args(arguments)
    content: list[tuple[str, str]] = found.content or []
    return Request(
        model=found.model,
        content=tuple(content),
        examples=tuple((file, question, answer) for file, question, answer in found.example),
        interactive=found.interactive or not content,
        speak=found.speak,
        voice=found.voice,
        task=found.task,
        mode=found.mode,
        language=found.language,
        seed=found.seed,
        temperature=found.temperature,
        max_tokens=found.max_tokens,
        parity=found.parity,
        devices=tuple(found.devices.split(",")),
        dtype=found.dtype,
        quantize=found.quantize,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """In one line: the usage fills a page; --help shows it."""
        self.exit(2, f"chat: {message} (see --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m model_server.chat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder or hub id")
    _add_content(parser)
    _add_reply(parser)
    where = parser.add_argument_group("where it runs")
    where.add_argument("--devices", default="auto", help="such as cuda:0,cuda:1, mps or cpu")
    where.add_argument("--dtype", default="auto", help="auto, bfloat16, float16 or float32")
    where.add_argument("--quantize", default="none", help="none, int8 or int4")
    return parser


def _add_content(parser: argparse.ArgumentParser) -> None:
    message = parser.add_argument_group("the message")
    for kind, meaning in (
        ("image", "a picture"),
        ("audio", "a sound file"),
        ("video", "a video: its frame and sound of each second"),
        ("text", "what to ask"),
    ):
        metavar = "TEXT" if kind == "text" else "FILE"
        message.add_argument(f"--{kind}", action=_Given, dest="content", metavar=metavar, help=meaning)
    message.add_argument(
        "--example",
        action="append",
        nargs=3,
        default=[],
        metavar=("FILE", "QUESTION", "ANSWER"),
        help="an answered question that shows what is wanted; FILE is a picture or sound, - for none",
    )
    message.add_argument("--task", choices=TASKS, help="what to do with the message")
    message.add_argument("--interactive", action="store_true", help="go on with lines of standard input")


def _add_reply(parser: argparse.ArgumentParser) -> None:
    reply = parser.add_argument_group("the reply")
    reply.add_argument("--speak", type=Path, metavar="FILE", help="write the spoken reply into this WAV file")
    reply.add_argument("--voice", type=Path, metavar="FILE", help="sound of 1 to 30 s whose voice is imitated")
    reply.add_argument("--mode", choices=MODES, help="kind of the system prompt")
    reply.add_argument("--language", choices=("en", "zh"), default="en", help="language of the prompts")
    reply.add_argument("--seed", type=int, help="makes the reply repeatable")
    reply.add_argument("--temperature", type=float, help="0 takes the likeliest word")
    reply.add_argument("--max-tokens", type=int, help="most tokens of the reply's text, rounded up to threes")
    how = reply.add_mutually_exclusive_group()
    how.add_argument("--parity", action="store_true", help="number for number as published, quirks included")
    how.add_argument("--default", action="store_false", dest="parity", help="mended (the default)")


def main(arguments: Sequence[str]) -> int:
    """Answer; returns the exit status: 2 for wrong input, 130 when interrupted."""
    request = parse(arguments)
    try:
        return _run(request)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if sys.stdout is not None:
            # What is left of the reply goes nowhere: Python would try again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # Whoever read the reply has read enough.
        print(f"chat: {error}", file=sys.stderr)
        return 2


def _run(request: Request) -> int:
    # The network's libraries take seconds to import: a wrong option is told before.
    from model_server.minicpmo.chat_command import run
    from model_server.minicpmo.errors import ModelError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # A reply may hold what the terminal's encoding has not.
    try:
        # A stream that was closed for the process is None.
        nowhere = io.StringIO()
        run(request, sys.stdin or nowhere, sys.stdout or nowhere, sys.stderr or nowhere)
    except ModelError as error:
        print(f"chat: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
