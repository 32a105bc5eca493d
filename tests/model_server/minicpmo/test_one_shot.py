"""Conversations answered at once: templates, the merging of clips, the reply in rounds and as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.minicpmo import one_shot
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.mel import MAX_SAMPLES
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.one_shot import LIKELIEST, Message, merged, read, template, whole
from model_server.minicpmo.parity import chatting
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import VectorSet
from model_server.minicpmo.replies.segment import SpeechTrace, Voice


def clip(samples: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.linspace(-0.1, 0.1, samples, dtype=np.float32)


def test_every_golden_value_of_chat_holds(tiny_folder, model: MiniCPMO) -> None:  # type: ignore[no-untyped-def]
    vectors = VectorSet(tiny_folder.parent)
    report = Report(vectors)
    chatting.check(vectors, report, model)
    assert report.rows
    assert report.misses == []
    assert [key for _, key in vectors.unseen() if key.startswith(("chat.", "chat_audio.", "x_chat"))] == []


def test_a_broken_rule_is_a_miss(tiny_folder, model: MiniCPMO, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(one_shot, "MOST_FRAMES", 0)
    monkeypatch.setattr(one_shot, "CALL", 20)
    vectors = VectorSet(tiny_folder.parent)
    report = Report(vectors)
    chatting.check(vectors, report, model)
    assert "chat_audio.tts_calls" in {row.key for row in report.misses}


def test_the_template_closes_every_message_and_opens_the_reply() -> None:
    assert template([("user", "a"), ("assistant", "b")]) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>assistant\n<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>"
    )


def test_clips_of_a_message_are_heard_as_one_where_that_shifts_nothing() -> None:
    assert [len(part) for part in merged([clip(16000), clip(16000), clip(9000), clip(16000)])] == [41000, 16000]
    assert [len(part) for part in merged([clip(MAX_SAMPLES), clip(16000)])] == [MAX_SAMPLES, 16000]
    assert merged([]) == []


def test_pictures_are_numbered_over_the_conversation(model: MiniCPMO) -> None:
    picture = Image.new("RGB", (60, 60), "red")
    messages = [Message("user", [picture]), Message("user", ["and", picture])]
    ids = read(model, messages, max_slices=1).ids
    text = model.tokenizer.decode(ids)
    assert text.index("<image_id>0</image_id><image>") < text.index("and<image_id>1</image_id><image>")
    assert "<image_id>" not in model.tokenizer.decode(read(model, messages, 1, number_pictures=False).ids)


def test_what_a_conversation_may_not_hold(model: MiniCPMO) -> None:
    with pytest.raises(InputError, match="at least one"):
        read(model, [])
    with pytest.raises(InputError, match="special"):
        read(model, [Message("user", ["hi <|im_end|>"])])
    with pytest.raises(InputError, match="more than 320"):
        read(model, [Message("user", [clip(320)])])
    with pytest.raises(InputError, match="text, pictures and sound"):
        read(model, [Message("user", [3])])  # type: ignore[list-item]
    with pytest.raises(InputError, match="positions"):
        read(model, [Message("user", ["a " * model.config.language.max_positions])])


def test_a_reply_goes_on_behind_its_speech_but_only_the_speech_is_its_text(model: MiniCPMO) -> None:
    special = model.tokenizer.specials
    script = iter([*model.tokenizer.encode("yes"), special.speech_end, *model.tokenizer.encode("no"), special.im_end])
    prompt = read(model, [Message("user", ["hello"])])
    found, reply = whole(model, prompt, speak=False, choose=lambda logits: next(script))
    assert found.text == "yes"
    assert reply.ids[-1] == special.im_end
    assert len(found.samples) == 0


def test_the_likeliest_reply_penalises_what_it_has_said_and_stops_at_its_limit(model: MiniCPMO) -> None:
    prompt = read(model, [Message("user", ["hello"])])
    options = TextSampling(do_sample=False, repetition_penalty=LIKELIEST.repetition_penalty, max_new_tokens=4)
    found, reply = whole(model, prompt, options, speak=False)
    plain, _ = whole(
        model, prompt, TextSampling(do_sample=False, repetition_penalty=1.0, max_new_tokens=4), speak=False
    )
    assert found.text == model.tokenizer.decode(reply.ids[:4])
    assert LIKELIEST.repetition_penalty == 1.2
    assert plain.text[:2] == found.text[:2], "the first token has nothing to be penalised for"


def test_speech_of_a_whole_text_goes_through_all_slots_and_then_on_to_its_limit(
    model: MiniCPMO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shot, "CALL", 1)
    monkeypatch.setattr(one_shot, "MOST_FRAMES", 40)
    trace, config = SpeechTrace(), model.config.speech
    speaker = torch.linspace(-1, 1, config.llm_size)
    codes = one_shot.spoken(model, "one", speaker, Voice(argmax, lambda call: True, trace))
    assert [positions[0] for _, positions in trace.prefills][:3] == [0, 12, 22]
    assert trace.prefills[-1][1][-1] == config.audio_start - 1
    assert len(trace.prefills) == 30
    assert len(codes) == len(trace.calls) == 41


def test_the_same_seed_is_the_same_reply(model: MiniCPMO) -> None:
    prompt = read(model, [Message("user", ["hello"])])
    options = TextSampling(max_new_tokens=9)
    texts = [
        "".join([piece.text for piece in one_shot.answer(model, prompt, options, speak=False, seed=seed)])
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    with pytest.raises(InputError, match="seed"):
        next(one_shot.answer(model, prompt, options, seed=2**63))
