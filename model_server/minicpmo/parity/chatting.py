"""Conversations answered at once: `data.chat`, and with speech `data.chat_audio`."""

from __future__ import annotations

import re
from typing import get_args

import torch
from PIL import Image

from model_server.minicpmo import one_shot
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.one_shot import LIKELIEST, Message, Prompt
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import INDEX, Node, VectorSet
from model_server.minicpmo.replies.segment import SpeechTrace, Voice
from model_server.minicpmo.words.prompts import Clip, Item, Language, Mode, system_content
from model_server.minicpmo.words.turns import Role

HIDDEN, SOUND = 2e-4, 2e-4
TEXT, FULL, FORCED = "text_session.npz", "full_sessions.npz", "full_forced.npz"
PICTURE, CLIP = "(<image>./</image>)", "(<audio>./</audio>)"
TAG = "x_chat"


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """The reply in text, and the forced one with speech."""
    if len(vectors.data("chat")):
        _Chat(vectors, report, model, TEXT, vectors.data("chat")).text()
    if len(vectors.data("chat_audio")):
        _Chat(vectors, report, model, FULL, vectors.data("chat_audio")).speech()


class _Chat:
    """One reply to one conversation."""

    def __init__(self, vectors: VectorSet, report: Report, model: MiniCPMO, media: str, case: Node) -> None:
        self.vectors, self.report, self.model, self.media, self.case = vectors, report, model, media, case

    def text(self) -> None:
        """The likeliest reply; what was asked stands in the note."""
        note = self.case.get("note", "")
        named = self.case.get("content") or _named(note)
        most = re.search(r"max_new_tokens=(\d+)", note)
        options = TextSampling(
            do_sample=False,
            repetition_penalty=LIKELIEST.repetition_penalty,
            max_new_tokens=int(most[1]) if most else LIKELIEST.max_new_tokens,
        )
        found, _ = one_shot.whole(self.model, self._prompt(self._unnamed_system(), named), options, speak=False)
        self.report.same(self.case["text"], found.text)

    def speech(self) -> None:
        """A forced reply, spoken with the likeliest codes."""
        case, report, trace = self.case, self.report, SpeechTrace()
        system = system_content(case["mode"].value, case["language"].value, self._voice())
        script = iter(case["script"].value)
        found, reply = one_shot.whole(
            self.model,
            self._prompt(system, case["content"].value),
            choose=lambda logits: next(script),
            voice=Voice(argmax, trace=trace),
        )
        report.same(case["text"], found.text)
        calls = [{"n_total": total, "finished": end, "kv": kv} for total, end, kv in trace.calls]
        report.equal(INDEX, case["tts_calls"].path, calls, case["tts_calls"].value)
        self._prefills(trace)
        report.same(case["n_samples"], len(found.samples))
        every = int(case["wav_storage"].value.removeprefix("every").replace("full", "1"))
        report.equal(FORCED, f"{TAG}_codes", found.codes, self.vectors.array(FORCED, f"{TAG}_codes"))
        report.close(FORCED, f"{TAG}_wav", found.samples[::every], SOUND)
        speaker = reply.speaker if reply.speaker is not None else torch.zeros(0)
        report.close(FORCED, f"{TAG}_spk_in", speaker[None], HIDDEN)
        case.get("min_tts_gap")  # A fact of the set; there is nothing of ours to compare.

    def _prefills(self, trace: SpeechTrace) -> None:
        golden = self.case["tts_prefills"]
        self.report.equal(INDEX, golden.path, len(trace.prefills), len(golden))
        for node, (ids, positions) in zip(golden, trace.prefills, strict=False):
            self.report.same(node["pos"], [positions[0], positions[-1] + 1])
            self.report.same(node["spk"], positions[0] == 0)
            kept = node["ids"].value
            self.report.equal(INDEX, node["ids"].path, ids if kept is not None else None, kept)

    def _prompt(self, system: list[Item], named: list[str]) -> Prompt:
        content = [self._item(name) for name in named]
        messages = [Message("user", system), Message("user", content)]
        marked: list[tuple[Role, str]] = [
            (each.role, "".join([_marker(item) for item in each.content])) for each in messages
        ]
        self.report.same(self.case["prompt"], one_shot.template(marked))
        prompt = one_shot.read(self.model, messages, max_slices=1, number_pictures=False)
        self.report.same(self.case["input_ids"], prompt.ids)
        return prompt

    def _unnamed_system(self) -> list[Item]:
        """The system prompt that reads as the case's, which does not say which it is."""
        prompt = self.case["prompt"].value
        for mode in get_args(Mode):
            for language in get_args(Language):
                content = system_content(mode, language, self._voice())
                if prompt.startswith(f"<|im_start|>user\n{''.join([_marker(item) for item in content])}<|im_end|>"):
                    return content
        raise ValueError(f"no system prompt reads: {prompt}")

    def _voice(self) -> Clip:
        return self.vectors.wave(self.vectors.holder("ref_i16", FULL) or FULL, "ref_i16")

    def _item(self, name: str) -> Item:
        if self.vectors.has(self.media, name):
            return Image.fromarray(self.vectors.array(self.media, name))
        clip = f"{name}_i16"
        return self.vectors.wave(self.media, clip) if self.vectors.has(self.media, clip) else name


def _named(note: str) -> list[str]:
    """The content of a note such as "chat(): content [img2, audio0, 'what'], ..."."""
    found = re.search(r"content \[(.*?)\]", note)
    if found is None:
        raise ValueError(f"expected a note that names the content, found {note!r}")
    return [name.strip(" '\"") for name in found[1].split(",")]


def _marker(item: Item) -> str:
    if isinstance(item, str):
        return item
    return PICTURE if isinstance(item, Image.Image) else CLIP
