"""Runs what `python -m model_server.chat` was asked for: files in, text and sound out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import torch

from model_server.minicpmo.chat import Chat, ChatSettings, sampling
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.media_files import (
    default_voice,
    read_picture,
    read_sound,
    read_video,
    read_voice,
    write_sound,
)
from model_server.minicpmo.loading import assembly, hub
from model_server.minicpmo.loading.checkpoint import Progress, load
from model_server.minicpmo.network.sampling import seeded
from model_server.minicpmo.request import Request
from model_server.minicpmo.words.prompts import Clip, Item, Language, Mode, system_content
from model_server.minicpmo.words.tasks import asked, task

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def run(request: Request, lines: TextIO, out: TextIO, log: TextIO) -> None:
    """Every file that is given is read before the network is loaded. Raises `ModelError`."""
    _check_speak(request.speak)
    seeded(request.seed)  # A seed outside its range is told before the network is loaded.
    folder = hub.local_folder(request.model)
    voice = _voice(request, folder)
    system = _system(request, voice)
    examples = [_example(*example) for example in request.examples]
    first = _content(request, voice) if request.content else None
    settings = ChatSettings(
        system=system,
        examples=examples,
        sampling=sampling(request.temperature, request.max_tokens),
        speak=request.speak is not None,
        seed=request.seed,
        parity=request.parity,
    )
    with _budget_shown(log):
        model = load(
            folder,
            devices=request.devices,
            dtype=request.dtype,
            quantize=request.quantize,
            progress=_Shown(log),
        )
    chat, turns = Chat(model, settings), 0
    if first is not None:
        turns = 1
        _answer(chat, first, request.speak, out)
    for line in _asked_lines(lines, log) if request.interactive else ():
        turns += 1
        try:
            _answer(chat, _asked(request, [line], voice), _file(request.speak, turns), out)
        except InputError as error:
            if not lines.isatty():
                raise
            log.write(f"{error}\n")  # A person may say it another way.


def _check_speak(file: Path | None) -> None:
    if file is not None and not file.parent.is_dir():
        raise InputError(f"{file}: expected a folder to write into, found none")
    if file is not None and file.is_dir():
        raise InputError(f"{file}: expected the name of a WAV file, found a folder")


@contextmanager
def _budget_shown(log: TextIO) -> Iterator[None]:
    """What loading says of the memory it needs, each line as it comes."""
    logger, handler = logging.getLogger(assembly.__name__), logging.StreamHandler(log)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Shown:
    """Progress of loading, one line for each part of the network."""

    def __init__(self, log: TextIO) -> None:
        self._log, self._part = log, ""

    def __call__(self, progress: Progress) -> None:
        if self._log.isatty():
            end = "\n" if progress.done == progress.total else ""
            self._log.write(f"\rloading {progress.part:12} {progress.done}/{progress.total}{end}")
        elif progress.part != self._part:
            self._log.write(f"loading {progress.part}\n")
        self._part = progress.part
        self._log.flush()


def _language(request: Request) -> Language:
    return cast(Language, request.language)


def _voice(request: Request, folder: Path) -> Clip | None:
    """The voice to speak with: the one given, else the checkpoint's own where the reply is spoken."""
    if request.voice is not None:
        return read_voice(request.voice)
    wanted = request.speak is not None or request.mode == "voice_cloning"
    return default_voice(folder, _sees(request)) if wanted else None


def _sees(request: Request) -> bool:
    return any(kind in ("image", "video") for kind, _ in request.content)


def _system(request: Request, voice: Clip | None) -> list[Item]:
    """No system prompt for a reply in text that asks for no mode."""
    if request.mode is None and request.voice is None and (request.speak is None or _task_alone(request)):
        return []
    return system_content(_mode(request), _language(request), voice)


def _task_alone(request: Request) -> bool:
    return request.task is not None and task(request.task).mode != "voice_cloning"


def _mode(request: Request) -> Mode:
    if request.mode is not None:
        return cast(Mode, request.mode)
    if request.task is not None:
        return task(request.task).mode
    return "omni" if _sees(request) else "audio_assistant"


def _content(request: Request, voice: Clip | None) -> list[Item]:
    """The message as it is given; the parts of it stand on lines of their own, units of a video in one row."""
    content: list[Item] = []
    for kind, given in request.content:
        if content:
            content.append("\n")
        content += _given(kind, given)
    return _asked(request, content, voice)


def _asked(request: Request, given: list[Item], voice: Clip | None) -> list[Item]:
    """With the prompt of the task, where there is one."""
    return given if request.task is None else asked(request.task, _language(request), given, voice is not None)


def _given(kind: str, given: str) -> list[Item]:
    if kind == "image":
        return [read_picture(Path(given))]
    if kind == "audio":
        return [read_sound(Path(given))]
    return read_video(Path(given)) if kind == "video" else [given]


def _example(file: str, question: str, answer: str) -> tuple[list[Item], str]:
    if file == "-":
        return [question], answer
    kind = "image" if Path(file).suffix.lower() in PICTURE_ENDINGS else "audio"
    return [*_given(kind, file), "\n", question], answer


def _asked_lines(lines: TextIO, log: TextIO) -> Iterator[str]:
    """Lines that say something, until the end; a person is shown where to type."""
    while True:
        if lines.isatty():
            log.write("> ")
            log.flush()
        try:
            line = lines.readline()
        except UnicodeDecodeError as error:
            raise InputError("standard input: expected text in UTF-8, got other bytes") from error
        if not line:
            return
        if line.strip():
            yield line.strip()


def _file(speak: Path | None, turn: int) -> Path | None:
    """Of the second turn out-2.wav, and so on."""
    return speak if speak is None or turn == 1 else speak.with_stem(f"{speak.stem}-{turn}")


def _answer(chat: Chat, content: list[Item], speak: Path | None, out: TextIO) -> None:
    parts = []
    for piece in chat.say(content):
        out.write(piece.text)
        out.flush()
        parts.append(piece.samples)
    out.write("\n")
    out.flush()
    if speak is not None:
        samples = torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
        if not len(samples):
            raise InputError("the reply has no sound: it has no text that can be spoken")
        write_sound(speak, samples)
