"""The speech model, its sampling, the mel decoder, the vocoder and the joining of pieces."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.speech import Chooser, SpeechState
from model_server.minicpmo.network.speech_sampling import (
    LEAST_STEPS,
    argmax,
    drawing_codes,
    frame_probabilities,
    keep_top_k,
    keep_top_p,
    temperatures,
)
from model_server.minicpmo.network.speech_state import visible_text
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import INDEX, VectorSet
from model_server.minicpmo.replies.joining import OVERLAP, Joiner
from model_server.minicpmo.words.speech_ids import speech_ids
from model_server.minicpmo.words.tokens import SpeechTokenizer

LOGITS, MEL, SOUND, CACHE, PROBABILITY = 1e-3, 1e-3, 1e-4, 1e-4, 1e-6
UNIT, RULES = "tts_unit.npz", "full_forced.npz"


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Everything of the set that is about the voice alone."""
    with torch.inference_mode():
        check_ids(vectors, report, model)
        if len(vectors.data("tts_unit")):
            unit = Unit(vectors, report, model)
            unit.speaker()
            unit.masks()
            unit.calls()
            unit.drawn()
            unit.sound()
            unit.filters()
        if len(vectors.data("tts_sampler")):
            check_sampler(vectors, report, model)


def check_ids(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Token sequences of texts."""
    for section in ("utils", "utils_more"):
        cases = vectors.data(section)
        if "prepare_tts_text" not in cases:
            continue
        for case in cases["prepare_tts_text"]:
            ids, count = speech_ids(model.speech_tokenizer, case["text"].value, model.config.speech.reserved_text)
            report.same(case["ids"], ids)
            report.same(case["n"], count)


class Unit:
    """The parts one by one, on one text."""

    def __init__(self, vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
        self.vectors, self.report, self.model = vectors, report, model
        self.config, self.data = model.config.speech, vectors.data("tts_unit")
        text = self.data["text"].value
        self.ids, self.count = speech_ids(model.speech_tokenizer, text, self.config.reserved_text)
        self.first = min(2 + self.config.text_chunk, self.count + 3)
        """Where the first range of text ends."""
        self._check_text(text)

    def _close(self, key: str, ours: Tensor, tolerance: float) -> None:
        self.report.close(UNIT, key, ours, tolerance)

    def _equal(self, key: str, ours: object) -> None:
        self.report.equal(UNIT, key, ours, self.vectors.array(UNIT, key))

    def _check_text(self, text: str) -> None:
        written = written_out(text, self.count, self.config.reserved_text)
        head, tail = self.data["tts_text_head"], self.data["tts_text_tail"]
        self.report.same(head, written[: len(head.value)])
        self.report.same(tail, written[-len(tail.value) :])
        self.report.same(self.data["tts_text_len"], self.count)
        self.report.same(self.data["condition_length"], len(self.ids))
        self._equal("tts_ids", self.ids)

    def _begun(self) -> SpeechState:
        """A segment with its first range of text."""
        hidden = torch.from_numpy(self.vectors.array(UNIT, "spk_hidden_in"))[0]
        state = self.model.speech.new_state(hidden)
        state.text_length = self.count
        self.model.speech.prefill_text(state, self.ids[: self.first], 0)
        return state

    def speaker(self) -> None:
        """The projection of the speaker, and what the first range leaves in the cache."""
        hidden = torch.from_numpy(self.vectors.array(UNIT, "spk_hidden_in"))
        projected, normalised = self.model.speech.project(hidden)
        self._close("projected", projected, CACHE)
        self._close("projected_normalized", normalised, CACHE)
        state = self._begun()
        self._close("kv_k_l0_after12", state.text_keys(0, self.first)[0][None], CACHE)
        self._close("kv_v_last_after12", state.text_keys(-1, self.first)[1][None], CACHE)

    def masks(self) -> None:
        """What steps see: of the text and its BOS, as masks over all slots."""
        last = len(self.ids) - 1
        self._equal("text_mask", [int(slot < self.count + 3 or slot == last) for slot in range(last + 1)])
        rows = []
        for length, *_ in self.vectors.array(UNIT, "mask_visibility").tolist():
            text = visible_text(self.config, length - last, self.count)
            rows.append([length, text, 0, text + length - last])
        self._equal("mask_visibility", rows)

    def calls(self) -> None:
        """Two calls of the speech model, and their sound."""
        state, logits = self._begun(), list[Tensor]()
        first = self._call(state, argmax, "codes_chunk1", logits)
        self._equal("codes_chunk1", first[None])
        self.model.speech.prefill_text(state, self.ids[self.first : self.count + 3], self.first)
        steps = self.vectors.array(UNIT, "codes_chunk2_total").shape[1] - len(first)
        self.model.speech.speak(state, steps, argmax, no_stop=True, observe=logits.append)
        self._equal("codes_chunk2_total", state.codes[None])
        self._close("raw_logits", torch.stack(logits), LOGITS)
        inner = torch.stack(logits)[..., : self.config.eos_code].topk(2).values
        self.report.near_node(self.data["min_gap"], float((inner[..., 0] - inner[..., 1]).min()), 2 * LOGITS)
        self._pieces(state.codes)

    def _call(self, state: SpeechState, choose: Chooser, key: str, logits: list[Tensor]) -> Tensor:
        steps = self.vectors.array(UNIT, key).shape[1]
        return self.model.speech.speak(state, steps, choose, no_stop=True, observe=logits.append)[0]

    def _pieces(self, codes: Tensor) -> None:
        first = codes[: self.vectors.array(UNIT, "codes_chunk1").shape[1]]
        second = codes[-(self.vectors.array(UNIT, "mel_chunk2").shape[2] // 2) :]
        features = self.model.dvae.dequantised(first[None])
        self._close("vq_feat_chunk1", features.flatten(2).transpose(1, 2), MEL)
        waves = []
        for number, part in ((1, first), (2, second)):
            mel = self.model.dvae(part)
            waves.append(self.model.vocos(mel))
            self._close(f"mel_chunk{number}", mel[None], MEL)
            self._close(f"wav_chunk{number}", waves[-1], SOUND)
        joiner = Joiner(OVERLAP, early=False)
        self._close("ola_out", torch.cat([joiner.feed(wave) for wave in waves]), SOUND)
        self._close("ola_left", joiner.flush(), SOUND)

    def drawn(self) -> None:
        """A call with real draws; the key names the seed."""
        for key in self.vectors.keys(UNIT):
            if seeded := re.fullmatch(r"codes_seed(\d+)", key):
                generator = torch.Generator().manual_seed(int(seeded[1]))
                self._equal(key, self._call(self._begun(), drawing_codes(generator), key, [])[None])

    def sound(self) -> None:
        """Given codes, decoded in one piece."""
        codes = torch.from_numpy(self.vectors.array(UNIT, "fixed_codes"))
        mel = self.model.dvae(codes)
        self._close("fixed_mel", mel, MEL)
        self._close("fixed_wav", self.model.vocos(mel)[0], SOUND)

    def filters(self) -> None:
        """Which codes pass both filters."""
        logits = torch.from_numpy(self.vectors.array(UNIT, "warp_in"))
        official = temperatures(self.config.num_codebooks, logits.device)
        for key, scores in (("warp_out_finite_mask", logits / official), ("warp_out_T1_finite_mask", logits)):
            kept = keep_top_k(keep_top_p(scores, self.config.top_p), self.config.top_k)
            self._equal(key, kept.isfinite())


def written_out(text: str, count: int, reserved: int) -> str:
    """The token sequence of a text of at most `reserved` tokens, as the string it stands for."""
    names = SpeechTokenizer
    end = "" if count == reserved else names.TEXT_END + names.PAD * (reserved - count - 1)
    return names.START + names.SPEAKER + text + end + names.AUDIO_START


def check_sampler(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Distributions of steps of a first call, the same logits at every step."""
    config, cases = model.config.speech, vectors.data("tts_sampler")
    logits = torch.from_numpy(vectors.array(RULES, "tsamp_logits"))
    none = torch.empty(0, config.num_codebooks, dtype=torch.long)
    ours = [
        frame_probabilities(config, logits, none, first=step == 0, may_end=step >= LEAST_STEPS)
        for step in cases["steps"].value
    ]
    report.close(RULES, "tsamp_probs", torch.stack(ours), PROBABILITY)
    report.equal(INDEX, cases["n_allowed"].path, [(p > 0).sum(-1).tolist() for p in ours], cases["n_allowed"].value)
