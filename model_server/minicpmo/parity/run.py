"""All checks over one folder of golden vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model_server.minicpmo.checkpoint import load
from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.parity import chatting, conversations, hearing, pictures, prompting, seeing, texts, voice
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import VectorSet

Check = Callable[[VectorSet, Report, MiniCPMO], None]

CHECKS: dict[str, Check] = {
    "pictures": pictures.check,
    "hearing": hearing.check,
    "seeing": seeing.check,
    "texts": texts.check,
    "voice": voice.check,
    "conversations": conversations.check,
    "chatting": chatting.check,
    "prompting": prompting.check,  # Last: it takes what media the others left.
}
"""By what they are about; together they look at everything."""


def prove(folder: Path) -> Report:
    """Run every check in float32 on the CPU. What no check looked at is a miss.

    Raises `CheckpointError`, also for a set without values.
    """
    vectors = VectorSet(folder)
    model = load(str(vectors.checkpoint), devices=("cpu",), dtype="float32")
    report = Report(vectors)
    for name, check in CHECKS.items():
        try:
            check(vectors, report, model)
        except Exception as error:  # A check that breaks is a miss; the others still run.
            report.failed(name, error)
    for file, key in vectors.unseen():
        report.unchecked(file, key)
    for file, key in vectors.unlisted():
        report.unlisted(file, key)
    if not report.rows:
        raise CheckpointError(f"{folder}: no golden values in it: nothing was proved")
    return report
