"""Whole conversations: prompts, prefills, replies as text, and spoken replies, free and forced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextChooser, TextSampling, drawing, greedy
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import INDEX, Node, VectorSet
from model_server.minicpmo.replies.behaviour import PARITY
from model_server.minicpmo.replies.segment import Piece, SpeechTrace, Voice
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import Clip, Item, Language, Mode, system_content

HIDDEN, LOGITS, EMBEDDINGS, SOUND, LEVEL = 2e-4, 5e-4, 2e-4, 2e-4, 1e-4
FULL, FORCED, TEXT, PROMPTS = "full_sessions.npz", "full_forced.npz", "text_session.npz", "prompts.npz"
STORED = {"full": 1, "every16": 16, "every32": 32, "every64": 64}
PICTURE, CLIP = "(<image>./</image>)", "(<audio>./</audio>)"


MEDIA = {
    "prompts": (PROMPTS, PROMPTS),
    "text_session": (TEXT, TEXT),
    "full_sessions": (FULL, FULL),
    "forced_sessions": (FORCED, FULL),
}
"""Of each section the file of its arrays and that of its media."""


def check(vectors: VectorSet, report: Report, model: MiniCPMO, sections: Sequence[str]) -> None:
    """Every conversation of some sections."""
    for section in sections:
        with torch.inference_mode():
            Conversations(vectors, report, model, *MEDIA[section]).run(vectors.data(section))


def check_categories(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """What the conversations are filed under names conversations that there are."""
    tags = {event.get("tag") for part in ("full_sessions", "forced_sessions") for event in vectors.data(part)}
    for section in ("full_categories", "forced_categories"):
        for child in vectors.data(section):
            named = child.value in tags or child.path.partition(".")[2] in tags
            report.equal(INDEX, child.path, named, True)


@dataclass(slots=True)
class Draws:
    """Chooses ids as a case says, and remembers what there was to choose from."""

    script: Iterator[int] | None
    choose: TextChooser
    ids: list[int] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    margin: float = float("inf")

    def __call__(self, penalised: Tensor) -> int:
        first, second = penalised.topk(2).values.tolist()
        self.margin = min(self.margin, first - second)
        self.ids.append(int(self.choose(penalised)) if self.script is None else next(self.script))
        return self.ids[-1]


class Conversations:
    """Plays the events of a section, session after session."""

    def __init__(self, vectors: VectorSet, report: Report, model: MiniCPMO, file: str, media: str) -> None:
        self.vectors, self.report, self.model = vectors, report, model
        self.file, self.media = file, media
        self.session = Session(model, PARITY)

    def run(self, events: Node) -> None:
        for event in events:
            event.get("note")
            match event["op"].value:
                case "prefill":
                    self.prefill(event)
                case "generate_text":
                    self.text(event)
                case "generate_audio":
                    self.speech(event)
                case other:
                    raise ValueError(f"{event.path}: an operation of another kind: {other}")

    # Prefill

    def prefill(self, event: Node) -> None:
        tag, report = event["tag"].value, self.report
        if event["is_first"].value:
            self.session = Session(self.model, PARITY)
        content = self.content(event)
        markers = "".join(_marker(item) for item in content)
        report.same(event["prompt"], self.session.turns.prefill(event["role"].value, markers)[0])
        done = self.session.prefill(event["role"].value, content, event.get("max_slice_nums", 1))
        report.same(event["input_ids"], done.ids)
        report.same(event["audio_bounds"], done.clip_bounds)
        report.same(event["image_bound"], done.picture_bounds)
        report.same(event["kv_len"], self.session.length)
        report.same(event["audio_cache_len"], self.session.audio_cache.length)
        report.same(event["new_user_msg"], self.session.turns.starts_turn)
        self._close(f"{tag}_hidden_last", done.hidden[-1], HIDDEN)
        self._close(f"{tag}_logits_last", self.model.language.logits(done.hidden[-1]), LOGITS)
        self._close(f"{tag}_embeds", done.embeddings, EMBEDDINGS)
        self._close(f"{tag}_embed_samples", _samples(done.embeddings, 2048), EMBEDDINGS)

    def _close(self, key: str, ours: Tensor, tolerance: float) -> None:
        if self.vectors.has(self.file, key):
            self.report.close(self.file, key, ours, tolerance)

    def content(self, event: Node) -> list[Item]:
        if "mode" in event:
            reference = event.get("with_ref", True)
            content = system_content(event["mode"].value, event["language"].value, self._voice() if reference else None)
            if "content" in event:
                named = event["content"].value
                self.report.equal(INDEX, event["content"].path, len(named), len(content))
            return content
        if "content" not in event:
            return self._system_like(event["prompt"].value)
        return [self._item(name) for name in event["content"].value]

    def _voice(self) -> Clip:
        """The reference voice; one for the whole set."""
        return self.vectors.wave(self.vectors.holder("ref_i16", self.media) or FULL, "ref_i16")

    def _system_like(self, prompt: str) -> list[Item]:
        """The system prompt that reads like this one, where the event does not say which it is."""
        for mode in get_args(Mode):
            for language in get_args(Language):
                content = system_content(mode, language, self._voice())
                if "".join(_marker(item) for item in content) in prompt:
                    return content
        raise ValueError(f"no system prompt reads: {prompt}")

    def _item(self, name: str) -> Item:
        if self.vectors.has(self.media, name):
            array = self.vectors.array(self.media, name)
            return Image.fromarray(array) if array.ndim == 3 else self.vectors.wave(self.media, name)
        if self.vectors.has(self.media, f"{name}_i16"):
            return self.vectors.wave(self.media, f"{name}_i16")
        return name

    # Replies

    def text(self, event: Node) -> None:
        tag, report, draws = event["tag"].value, self.report, self._draws(event)
        if "gen_prompt_ids" in event:
            opening = self.session.turns.reply()[0]
            report.same(event["gen_prompt_ids"], self.model.tokenizer.encode(opening))
        before = self.session.length
        error = None
        texts: list[str] = []
        with closing(self._reply(event, draws, voice=None)) as pieces:
            try:
                texts.extend(piece.text for piece in pieces)
            except IndexError as raised:
                error = raised
        self._common(event, draws, before, error)
        report.same(event["texts"], texts)
        if "text" in event:
            report.same(event["text"], "".join(texts))
        if "calls" in event:
            rounds = self.session.reply.rounds
            fed = [len(event["gen_prompt_ids"].value), *[1] * len(rounds)]
            calls = [{"n_in": n_in, "n_new": len(found.ids)} for n_in, found in zip(fed, rounds, strict=False)]
            report.equal(INDEX, event["calls"].path, calls, event["calls"].value)
        margin = event.get("min_processed_gap")
        if margin is not None and event["kwargs"].get("do_sample", event["kwargs"].get("sampling")) is False:
            report.near(INDEX, f"{event.path}.min_processed_gap", draws.margin, margin, 2 * LOGITS)
        if draws.logits:
            self._close(f"{tag}_step_logits", torch.stack(draws.logits), LOGITS)
        if self.session.reply.opening is not None:
            self._close(f"{tag}_gen_prompt_hidden", self.session.reply.opening, HIDDEN)

    def speech(self, event: Node) -> None:
        tag, report, draws = event["tag"].value, self.report, self._draws(event)
        forbidden = event.get("no_stop_calls", [])
        trace = SpeechTrace()
        voice = Voice(argmax, lambda call: any(start <= call < end for start, end in forbidden), trace)
        before = self.session.length
        pieces, error = self._pulled(event, draws, voice)
        self._common(event, draws, before, error)
        prefills = [{"ids": ids, "pos": pos, "spk": pos[0] == 0} for ids, pos in trace.prefills]
        report.equal(INDEX, event["tts_prefills"].path, prefills, event["tts_prefills"].value)
        calls = [{"n_total": total, "finished": end, "kv": kv} for total, end, kv in trace.calls]
        report.equal(INDEX, event["tts_calls"].path, calls, event["tts_calls"].value)
        if "segments" in event:
            report.same(event["segments"], trace.segments)
        if self.vectors.has(self.file, f"{tag}_codes_last"):
            report.equal(
                self.file, f"{tag}_codes_last", trace.frames, self.vectors.array(self.file, f"{tag}_codes_last")
            )
        self._sound(event, tag, pieces)
        if self.session.reply.speaker is not None:
            self._close(f"{tag}_spk_in", self.session.reply.speaker[None], HIDDEN)
        for name in (
            "category",
            "min_llm_gap",
            "min_tts_gap",
        ):  # Facts of the set; there is nothing of ours to compare.
            event.get(name)

    def _pulled(self, event: Node, draws: Draws, voice: Voice) -> tuple[list[Piece], Exception | None]:
        pieces: list[Piece] = []
        most = event.get("close_after")
        with closing(self._reply(event, draws, voice)) as stream:
            try:
                while most is None or len(pieces) < most:
                    pieces.append(next(stream))
            except StopIteration:
                pass
            except IndexError as error:
                return pieces, error
        return pieces, None

    def _sound(self, event: Node, tag: str, pieces: list[Piece]) -> None:
        golden = event["pieces"]
        if not len(golden):
            self.report.same(golden, pieces)
        self.report.equal(INDEX, golden.path, len(pieces), len(golden))
        for node, piece in zip(golden, pieces, strict=False):
            self.report.same(node["text"], piece.text)
            self.report.same(node["n_samples"], len(piece.samples))
            self.report.same(node["sr"], 24000)
            self.report.near_node(node["rms"], float(piece.samples.double().pow(2).mean().sqrt()), LEVEL)
            self.report.near_node(node["absmax"], float(piece.samples.abs().max()), SOUND)
        every = STORED[event["wav_storage"].value]
        if self.vectors.has(self.file, f"{tag}_wav"):
            whole = torch.cat([piece.samples for piece in pieces]) if pieces else torch.zeros(0)
            self._close(f"{tag}_wav", whole[::every], SOUND)

    def _draws(self, event: Node) -> Draws:
        if "script" in event:
            return Draws(iter(event["script"].value), greedy)
        options = self._options(event)
        if options.do_sample:
            return self._drawn(event, options)
        return Draws(None, greedy)

    def _drawn(self, event: Node, options: TextSampling) -> Draws:
        """As the note's seed says; without one the reply is taken as it was drawn."""
        seeded = re.search(r"manual_seed\((\d+)\)", event.get("note", ""))
        if seeded is None:
            return Draws(iter(event["token_ids"].value), greedy)
        return Draws(None, drawing(options, torch.Generator().manual_seed(int(seeded[1]))))

    def _options(self, event: Node) -> TextSampling:
        kwargs = event["kwargs"].value
        sampled = kwargs.get("sampling", True)
        return TextSampling(
            repetition_penalty=1.05 if sampled else 1.2,
            do_sample=sampled and kwargs.get("do_sample", True),
            min_new_tokens=kwargs.get("min_new_tokens", 0),
            max_new_tokens=kwargs["max_new_tokens"],
        )

    def _reply(self, event: Node, draws: Draws, voice: Voice | None) -> Any:
        return self.session.generate(
            self._options(event), speak=voice is not None, choose=draws, voice=voice, observe=draws.logits.append
        )

    def _common(self, event: Node, draws: Draws, before: int, error: Exception | None) -> None:
        report, reply = self.report, self.session.reply
        report.same(event["token_ids"], draws.ids)
        report.same(event["kv_before"], before)
        report.same(event["kv_after"], self.session.length)
        report.same(event["completed"], getattr(self.session.turns, "completed", None))
        if "n_drawn" in event:
            report.same(event["n_drawn"], len(draws.ids))
        if "rounds" in event:
            report.same(event["rounds"], [found.text for found in reply.rounds])
        if "error" in event:
            expected = event["error"].value
            names = [kind.__name__ for kind in type(error).__mro__] if error is not None else []
            report.equal(INDEX, event["error"].path, expected is None or expected[0] in names, True)
            report.equal(INDEX, event["error"].path, error is None, expected is None)


def _marker(item: Item) -> str:
    if isinstance(item, str):
        return item
    return PICTURE if isinstance(item, Image.Image) else CLIP


def _samples(tensor: Tensor, most: int) -> Tensor:
    flat = tensor.flatten()
    return flat[np.linspace(0, len(flat) - 1, min(most, len(flat))).astype(int)]
