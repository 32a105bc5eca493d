"""All checks over one folder of golden vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.loading.checkpoint import load
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.parity import chatting, conversations, hearing, pictures, prompting, seeing, texts, voice
from model_server.minicpmo.parity.report import Report, Row
from model_server.minicpmo.parity.vectors import Seen, VectorSet

Check = Callable[[VectorSet, Report, MiniCPMO], None]

CHECKS: dict[str, Check] = {
    "forced sessions": partial(conversations.check, sections=("forced_sessions",)),
    "conversations": partial(conversations.check, sections=("prompts", "text_session", "full_sessions")),
    "categories": conversations.check_categories,
    "pictures": pictures.check,
    "hearing": hearing.check,
    "seeing": seeing.check,
    "texts": texts.check,
    "voice": voice.check,
    "chatting": chatting.check,
    "prompting": prompting.check,
}
"""By what they are about, the longest first; together they look at everything."""


@dataclass(frozen=True, slots=True)
class Proved:
    """What one check compared, and what of the set it looked at."""

    rows: list[Row]
    seen: Seen


def prove(folder: Path, jobs: int = 1) -> Report:
    """Run every check in float32 on the CPU, `jobs` of them at once. What no check looked at is a miss.

    Raises `CheckpointError`, also for a set without values.
    """
    vectors = VectorSet(folder)
    report = Report(vectors)
    for proved in _proved(folder, jobs):
        report.rows += proved.rows
        vectors.saw(proved.seen)
    prompting.check_spare_media(vectors, report)
    for file, key in vectors.unseen():
        report.unchecked(file, key)
    for file, key in vectors.unlisted():
        report.unlisted(file, key)
    if not report.rows:
        raise CheckpointError(f"{folder}: no golden values in it: nothing was proved")
    return report


def _proved(folder: Path, jobs: int) -> Iterable[Proved]:
    if jobs == 1:
        model = _model(VectorSet(folder))
        return [_run(folder, model, name) for name in CHECKS]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        return list(pool.map(partial(_run_apart, folder), CHECKS))


def _run_apart(folder: Path, name: str) -> Proved:
    torch.set_num_threads(1)
    return _run(folder, _model(VectorSet(folder)), name)


def _model(vectors: VectorSet) -> MiniCPMO:
    return load(str(vectors.checkpoint), devices=("cpu",), dtype="float32")


def _run(folder: Path, model: MiniCPMO, name: str) -> Proved:
    vectors = VectorSet(folder)
    report = Report(vectors)
    try:
        CHECKS[name](vectors, report, model)
    except Exception as error:  # A check that breaks is a miss; the others still run.
        report.failed(name, error)
    return Proved(report.rows, vectors.seen)
