"""The picture tower and the resampler against `vision.npz` and the vision rules of `full_forced.npz`."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.inputs.pictures import slice_picture
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.parity.pictures import picture, samples, shapes
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import Array, Node, VectorSet

FILE, RULES = "vision.npz", "full_forced.npz"
TOLERANCE = 1e-4
TOWER_SAMPLES, RESAMPLER_SAMPLES = 4096, 2048


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Every vision case and every rule case."""
    cases = vectors.data("vision_cases")
    note = cases.get("note", "") if len(cases) else ""
    with torch.inference_mode():
        for name in (key for key in (cases.keys() if len(cases) else []) if key != "note"):
            _Case(vectors, report, model, name, cases[name]).check(_stride(note, f"{name}_embeddings"))
        for case in vectors.data("vision_rule_cases"):
            _check_rule(vectors, report, model, case)


class _Case:
    """One picture through the tower and the resampler."""

    def __init__(self, vectors: VectorSet, report: Report, model: MiniCPMO, name: str, case: Node) -> None:
        self.vectors, self.report, self.model, self.name = vectors, report, model, name
        self.stride = _stride(case.get("note", ""), "vpm")
        image = picture(vectors, case["img"].value)
        self.cut = slice_picture(image, case["max_slice_nums"].value, model.config.pictures)

    def check(self, embedding_stride: int) -> None:
        self.report.close(FILE, f"{self.name}_tgt_sizes", np.array(shapes(self.cut.slices)), 0.0)
        states = self.model.vision(self.cut.slices)
        self._close("vpm", states, self.stride)
        ours = self.model.resampler(states, shapes(self.cut.slices))
        self.report.close(FILE, f"{self.name}_resampler", ours, TOLERANCE)
        if self.vectors.has(FILE, f"{self.name}_embeddings"):
            embedded = [self.model.vision.embed([part])[0] for part in self.cut.slices]
            self._close("embeddings", embedded, embedding_stride)

    def _close(self, kind: str, states: list[Tensor], stride: int) -> None:
        ours = _padded(states)[:, ::stride]
        key = f"{self.name}_{kind}"
        _near_where_valid(self.report, FILE, key, ours, self.vectors.array(FILE, key))


def _check_rule(vectors: VectorSet, report: Report, model: MiniCPMO, case: Node) -> None:
    key = case["key"].value
    cut = slice_picture(_picture(vectors, case), case["max_slice_nums"].value, model.config.pictures)
    report.same(case["tgt_sizes"], shapes(cut.slices))
    states = model.vision(cut.slices)
    embeddings = model.resampler(states, shapes(cut.slices))
    report.same(case["resampler_shape"], list(embeddings.shape))
    name = f"{key}_resampler_samples"
    report.close(RULES, name, samples(embeddings.numpy(), RESAMPLER_SAMPLES), TOLERANCE)
    last = _last_group(states, model)
    report.same(case["vpm_shape"], list(last.shape))
    name = f"{key}_vpm_samples"
    if vectors.has(RULES, name):
        _near_where_valid(report, RULES, name, samples(last, TOWER_SAMPLES), vectors.array(RULES, name))


def _last_group(states: list[Tensor], model: MiniCPMO) -> Array:
    """Output of the tower's last call: the published code sends it at most `batch_size` slices at a time."""
    most = model.config.vision.batch_size
    return _padded(states)[(len(states) - 1) // most * most :]


def _padded(states: list[Tensor]) -> Array:
    """[slices, most patches, hidden]; what is no patch is no number."""
    return torch.nn.utils.rnn.pad_sequence(states, batch_first=True, padding_value=float("nan")).numpy()


def _near_where_valid(report: Report, file: str, key: str, ours: Array, theirs: Array) -> None:
    """Padded places hold nothing that could be compared."""
    if ours.shape == theirs.shape:
        ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(ours)]
    report.near(file, key, ours, theirs, TOLERANCE)


def _stride(note: str, key: str) -> int:
    """The n of a note such as "a_embeddings ..., every 8th patch"; 1 if it says nothing of `key`."""
    found = re.search(r"every (\d+)\w* patch", note)
    return int(found[1]) if found and key in note else 1


def _picture(vectors: VectorSet, case: Node) -> Image.Image:
    source = case["image"].value
    if not source.startswith("formula"):
        image = picture(vectors, source, RULES)
    else:
        image = Image.fromarray(_drawn(source, *case["size_wh"].value))
    if list(image.size) != case["size_wh"].value:
        raise ValueError(f"{case.path}: picture of {image.size}, size_wh says {case['size_wh'].value}")
    return image


def _drawn(formula: str, width: int, height: int) -> Array:
    """[height, width, 3] uint8 of a text such as "formula: channels (x%256, y//2, (x+y)%256)"."""
    y, x = np.mgrid[:height, :width]
    channels = ast.parse(formula.split("channels", 1)[1].strip(), mode="eval").body
    if not isinstance(channels, ast.Tuple):
        raise ValueError(f"expected a formula of three channels, got {formula!r}")
    return np.stack([_value(part, {"x": x, "y": y}) for part in channels.elts], axis=-1).astype(np.uint8)


OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _value(node: ast.expr, names: dict[str, Array]) -> Any:
    """Whole-number arithmetic of a formula, and nothing else."""
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value(left, names), _value(right, names))
    raise ValueError(f"expected arithmetic of x, y and whole numbers, got {ast.dump(node)}")
