"""Pictures against `image.npz`: sizes, grids and every kept pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.config import PictureConfig
from model_server.minicpmo.inputs.pictures import PictureSlice, slice_picture
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import INDEX, Node, VectorSet

FILE = "image.npz"
SAMPLES = 256
PIXEL = 1e-6
"""Largest error of a normalised pixel."""


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Every picture case and every case of the rules of slicing."""
    config = model.config.pictures
    for case in vectors.data("image_cases"):
        _check_case(vectors, report, case, config)
    for case in vectors.data("image_rule_cases"):
        _check_rule(report, case, config)


def picture(vectors: VectorSet, key: str, file: str = FILE) -> Image.Image:
    """A picture kept as [height, width, 3] uint8."""
    return Image.fromarray(vectors.array(file, key))


def samples(values: Any, count: int) -> np.ndarray[Any, Any]:
    """`count` values spread evenly over all, in memory order; all of them if there are no more."""
    flat = np.asarray(values).reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(flat.size, count)).astype(np.int64)]


def shapes(slices: Sequence[PictureSlice]) -> list[tuple[int, int]]:
    """Rows and columns of each."""
    return [(part.rows, part.columns) for part in slices]


def strip(part: PictureSlice, side: int) -> Tensor:
    """[3, side, side * patches]: the patches side by side, as the published processor hands them on."""
    patches = part.patches.view(-1, 3, side, side)
    return patches.permute(1, 2, 0, 3).reshape(3, side, -1)


def _check_case(vectors: VectorSet, report: Report, case: Node, config: PictureConfig) -> None:
    image = picture(vectors, case["img"].value)
    cut = slice_picture(image, case["max_slice_nums"].value, config)
    report.same(case["size_wh"], image.size)
    report.same(case["image_sizes"], [image.size])
    report.same(case["n_slices"], len(cut.slices))
    report.same(case["grid"], cut.grid)
    report.same(case["tgt_sizes"], shapes(cut.slices))
    strips = [strip(part, config.patch_size) for part in cut.slices]
    for ours, theirs in zip(strips, case["slices"], strict=False):
        _check_strip(report, theirs, ours)
    full = case["slices"][0]["key"].value.replace("_s0_samples", "_full_u8")
    if vectors.has(FILE, full):
        levels = torch.round((torch.cat(strips, dim=-1) * 0.5 + 0.5) * 255)
        report.close(FILE, full, levels, 0.0)


def _check_strip(report: Report, case: Node, ours: Tensor) -> None:
    report.close(FILE, case["key"].value, samples(ours.numpy(), SAMPLES), PIXEL)
    report.same(case["shape"], list(ours.shape))
    report.same(case["dtype"], str(ours.dtype).removeprefix("torch."))
    report.same(case["sha256_float32"], hashlib.sha256(ours.numpy().tobytes()).hexdigest())
    for name, values in (("sum", ours), ("abs_sum", ours.abs())):
        report.near_node(case[name], float(values.double().sum()), PIXEL * ours.numel())


def _check_rule(report: Report, case: Node, config: PictureConfig) -> None:
    blank = Image.new("RGB", tuple(case["size_wh"].value))
    cut = slice_picture(blank, case["max_slice_nums"].value, config)
    report.equal(INDEX, f"{case.path} ({case['rule'].value})", cut.grid, case["grid"].value)
    report.same(case["tgt_sizes"], shapes(cut.slices))
