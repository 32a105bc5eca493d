"""Filler texts of pictures and clips, the draw of a reply's text, and media that no case uses."""

from __future__ import annotations

import torch
from torch import Tensor

from model_server.minicpmo.inputs.mel import MAX_SAMPLES, embedding_count
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling, distribution
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import INDEX, Node, VectorSet
from model_server.minicpmo.replies.behaviour import PARITY
from model_server.minicpmo.replies.generation import TextRounds
from model_server.minicpmo.replies.steps import run_alone
from model_server.minicpmo.words.prompts import GENERATION_PROMPT, clip_fillers, picture_fillers

FORCED = "full_forced.npz"
PROBABILITIES = 1e-6
SHOWN = 60
"""Characters of the text with a picture's number that the set keeps."""


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Everything that is written into prompts beside the texts, and the sampler cases."""
    for case in vectors.data("image_cases"):
        grid, queries = case["grid"].value, model.config.resampler.num_queries
        pair = None if grid is None else (grid[0], grid[1])
        report.same(case["placeholder"], picture_fillers(pair, queries))
        report.same(case["placeholder_use_image_id"], picture_fillers(pair, queries, number=0)[:SHOWN])
    for case in vectors.data("mel_cases"):
        report.same(case["placeholder_unk_counts"], filler_counts(case["n_samples"].value))
    sampler = vectors.data("llm_sampler")
    if len(sampler):
        report.same(sampler["gen_prompt_ids"], model.tokenizer.encode(GENERATION_PROMPT))
        for case in sampler["cases"]:
            draws(vectors, report, model, case)


def filler_counts(samples: int) -> list[int]:
    """Fillers of each block of a clip; one over 30 s is cut into pieces of 30 s."""
    pieces = [min(MAX_SAMPLES, samples - start) for start in range(0, samples, MAX_SAMPLES)]
    text = "".join(clip_fillers(embedding_count(piece)) for piece in pieces)
    return [block.count("<unk>") for block in text.split("<|audio_end|>")[:-1]]


class Constant:
    """A language model that answers everything with the same logits."""

    def __init__(self, model: MiniCPMO, logits: Tensor) -> None:
        self.config, self._logits = model.language.config, logits

    def embed(self, ids: list[int]) -> Tensor:
        return torch.zeros(len(ids), 1)

    def __call__(self, x: Tensor, cache: object) -> Tensor:
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        return self._logits


def draws(vectors: VectorSet, report: Report, model: MiniCPMO, case: Node) -> None:
    """The distribution before each draw of the first rounds of an answer."""
    key, drawn = case["key"].value, case["drawn"].value
    options = TextSampling(min_new_tokens=case["min_new_tokens"].value, max_new_tokens=len(drawn))
    found: list[Tensor] = []
    script = iter(drawn)

    def choose(logits: Tensor) -> int:
        found.append(distribution(logits, options))
        return int(next(script))

    constant = Constant(model, torch.from_numpy(vectors.array(FORCED, f"{key}_logits")))
    rounds = TextRounds(constant, model.tokenizer, PARITY, options, choose)  # type: ignore[arg-type]
    list(run_alone(rounds.run(model.tokenizer.encode(GENERATION_PROMPT), model.language.new_cache())))
    report.close(FORCED, f"{key}_probs", torch.stack(found), PROBABILITIES)
    report.same(case["n_allowed"], [int((row > 0).sum()) for row in found])


def check_spare_media(vectors: VectorSet, report: Report) -> None:
    """Pictures and clips that no case uses are at least what the index says they are."""
    for file, key in list(vectors.unseen()):
        if file != INDEX and (described := vectors.described(file, key))[1] in ("uint8", "int16"):
            array = vectors.array(file, key)
            report.equal(file, key, [list(array.shape), str(array.dtype)], described)
