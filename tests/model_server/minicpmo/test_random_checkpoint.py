from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from model_server.minicpmo.config import (
    AudioConfig,
    DvaeConfig,
    LanguageConfig,
    ModelConfig,
    ResamplerConfig,
    SpeechConfig,
    VisionConfig,
    VocosConfig,
)
from model_server.minicpmo.errors import ModelError
from model_server.minicpmo.loading import checkpoint, layout
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.random_checkpoint import SIZES, RandomTensors, __main__, write, write_descriptions
from model_server.minicpmo.random_checkpoint.words import SPECIALS, write_speech_vocabulary, write_text_vocabulary
from model_server.minicpmo.replies.behaviour import DEFAULT, PARITY, Behaviour
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.tokens import TOKEN_STRINGS, TextTokenizer

ODD = ModelConfig(
    language=LanguageConfig(427, hidden_size=256, intermediate_size=72, num_layers=1, num_heads=2, num_kv_heads=1),
    vision=VisionConfig(hidden_size=24, intermediate_size=20, num_layers=1, num_heads=3, image_size=42),
    resampler=ResamplerConfig(num_queries=6, hidden_size=256, input_size=24),
    audio=AudioConfig(hidden_size=12, intermediate_size=20, num_layers=1, num_heads=2, output_size=256),
    speech=SpeechConfig(
        llm_size=256, hidden_size=24, intermediate_size=20, num_layers=1, num_heads=2, num_text_tokens=163
    ),
    dvae=DvaeConfig(vq_dim=12, bottleneck=5, hidden_size=7, num_layers=1, encoder_layers=1, output_size=9),
    vocos=VocosConfig(hidden_size=10, intermediate_size=11, num_layers=1),
)
"""As small as the vocabularies allow, no size like another."""


def test_named_sizes() -> None:
    mid = SIZES["mid"]
    assert (mid.language.num_layers, mid.language.hidden_size, mid.language.vocab_size) == (8, 768, 1516)
    assert (mid.language.num_heads, mid.language.num_kv_heads, mid.language.intermediate_size) == (12, 4, 2304)
    for part in (mid.vision, mid.audio):
        assert (part.num_layers, part.hidden_size, part.num_heads, part.intermediate_size) == (6, 384, 6, 1536)
    assert (mid.speech.num_layers, mid.speech.hidden_size, mid.speech.intermediate_size) == (8, 384, 1536)
    assert (mid.dvae, mid.vocos) == (DvaeConfig(), VocosConfig())
    assert SIZES["full"] == ModelConfig()


@pytest.mark.parametrize("config", [SIZES["tiny"], ODD])
def test_what_is_written_loads_and_runs(tmp_path: Path, config: ModelConfig) -> None:
    write(config, tmp_path / "model", seed=1)
    model = checkpoint.load(tmp_path / "model", devices=["cpu"])
    with torch.inference_mode():
        hidden = model.language(model.language.embed(list(range(200, 240))), model.language.new_cache())
        logits = model.language.logits(hidden)
        state = model.speech.new_state(hidden[-1])
        model.speech.prefill_text(state, [1, 2, 3], 0)
        codes, _ = model.speech.speak(state, 4, lambda probabilities: probabilities.argmax(-1), no_stop=True)
        sound = model.vocos(model.dvae(codes))
    assert 1 < float(logits.std()) < 10
    assert sound.shape == (4 * 2 * model.config.vocos.hop,)
    assert 1e-4 < float(sound.abs().max()) < 10


def test_every_size_is_written_and_read_again(tmp_path: Path) -> None:
    speech = replace(ODD.speech, text_chunk=7, reserved_text=90, audio_chunk=30, top_p=0.9, top_k=5)
    config = replace(ODD, speech=speech, vision=replace(ODD.vision, layer_norm_eps=1e-5))
    (tmp_path / "assets").mkdir()
    write_descriptions(config, tmp_path, seed=2)
    found = checkpoint.read_config(tmp_path)
    ids = {name: getattr(found.speech, name) for name in ("speaker_id", "audio_bos_id", "text_eos_id")}
    assert found == replace(config, speech=replace(speech, **ids))


@pytest.mark.parametrize("behaviour", [DEFAULT, PARITY])
def test_a_spoken_reply_with_odd_sizes(tmp_path: Path, behaviour: Behaviour) -> None:
    """Room for fewer text tokens than the published model keeps spare, and chunks of other sizes."""
    speech = replace(ODD.speech, text_chunk=7, reserved_text=90, audio_chunk=30)
    write(replace(ODD, speech=speech), tmp_path / "model", seed=1)
    model = checkpoint.load(tmp_path / "model", devices=["cpu"])
    session = Session(model, behaviour, seed=1)
    session.prefill("user", ["so"])
    script = cycle(model.tokenizer.encode("it is one and two, you are not"))
    pieces = list(session.generate(TextSampling(max_new_tokens=60), choose=lambda logits: next(script)))
    assert sum(len(piece.samples) for piece in pieces) > 0


def test_shards_and_their_index(tmp_path: Path) -> None:
    write(SIZES["tiny"], tmp_path, shard_bytes=500_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(tmp_path.glob("*.safetensors"))
    assert {file.name for file in files} == set(index["weight_map"].values())
    assert all(f"-of-{len(files):05}" in file.name for file in files)
    for file in files:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            assert {opened.get_slice(name).get_dtype() for name in names} == {"BF16"}
            assert all(index["weight_map"][name] == file.name for name in names)
        assert file.stat().st_size < 520_000 or len(names) == 1
    checkpoint.load(tmp_path, devices=["cpu"])


def test_the_unused_table_is_only_in_the_official_size(tmp_path: Path) -> None:
    write(ODD, tmp_path)
    names = set(checkpoint.Tensors(tmp_path)._files)
    expected = {n for n in layout.official_tensors(ODD) if not n.startswith("vocos.")}
    assert expected - names == {"tts.model.embed_tokens.weight"}


def test_the_seed_decides(tmp_path: Path) -> None:
    folders = []
    for number, seed in enumerate((1, 1, 2)):
        write(ODD, tmp_path / str(number), seed=seed)
        folders.append({f.name: f.read_bytes() for f in (tmp_path / str(number)).iterdir() if f.is_file()})
    assert folders[0] == folders[1]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert folders[0][name] != folders[2][name]


def test_a_tensor_does_not_depend_on_the_others() -> None:
    cpu, name = torch.device("cpu"), "llm.model.norm.weight"
    drawn = RandomTensors(SIZES["tiny"], 3)
    first = drawn.read(name, cpu, torch.float32)
    drawn.read("resampler.proj", cpu, torch.float32)
    assert torch.equal(first, drawn.read(name, cpu, torch.float32))
    assert not torch.equal(first, drawn.read("llm.model.layers.0.input_layernorm.weight", cpu, torch.float32))
    assert not torch.equal(first, RandomTensors(SIZES["tiny"], 4).read(name, cpu, torch.float32))


def test_scales_keep_activations_near_one() -> None:
    drawn, cpu = RandomTensors(SIZES["mid"]), torch.device("cpu")
    x = torch.randn(50, 768, generator=torch.Generator().manual_seed(0))
    gate = drawn.read("llm.model.layers.3.mlp.gate_proj.weight", cpu, torch.float32)
    assert float((x @ gate.T).std()) == pytest.approx(1, abs=0.1)
    assert float(drawn.read("vpm.post_layernorm.weight", cpu, torch.float32).mean()) == pytest.approx(1, abs=0.05)
    window = drawn.read("vocos.head.istft.window", cpu, torch.float32)
    assert torch.equal(window, torch.hann_window(1024))


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ModelError, match="expected an empty or new folder"):
        write(ODD, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("size", [376 + len(SPECIALS), 1516])
def test_the_text_vocabulary_fills_every_row(tmp_path: Path, size: int) -> None:
    write_text_vocabulary(tmp_path, size, seed=4)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = set(tokenizer.get_vocab(with_added_tokens=True).values())
    assert ids == set(range(size))
    assert all(tokenizer.decode([number], skip_special_tokens=False) for number in range(size))
    assert tokenizer.decode([0]) == "!"
    assert tokenizer.encode("!").ids == [0]


def test_special_tokens_stand_in_other_places_for_every_seed(tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        write_text_vocabulary(tmp_path, 700, seed)
        found.append(TextTokenizer(tmp_path).specials)
    assert found[0] != found[1]
    assert all(256 <= specials.unknown < 700 - len(SPECIALS) for specials in found)
    assert found[0].unknown != found[1].unknown


def test_special_tokens_survive_in_a_text(tmp_path: Path) -> None:
    ids = write_text_vocabulary(tmp_path, 700, 3)
    tokenizer = TextTokenizer(tmp_path)
    assert set(TOKEN_STRINGS.values()) <= set(ids)
    text = "<|im_start|>user\nHi there, 你好! 12.5 <unk><|im_end|>"
    encoded = tokenizer.encode(text)
    assert (encoded[0], encoded[-2], encoded[-1]) == (ids["<|im_start|>"], ids["<unk>"], ids["<|im_end|>"])
    assert tokenizer.decode(encoded) == text


def test_common_words_are_single_tokens_behind_a_space(tmp_path: Path) -> None:
    write_text_vocabulary(tmp_path, 1516, 3)
    tokenizer = TextTokenizer(tmp_path)
    assert len(tokenizer.encode(" the people would make it")) == 5


@pytest.mark.parametrize("size", [163, 1074])
def test_the_speech_vocabulary_fills_every_row(tmp_path: Path, size: int) -> None:
    ids = write_speech_vocabulary(tmp_path, size, seed=4)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert set(tokenizer.get_vocab(with_added_tokens=True).values()) == set(range(size))
    assert tokenizer.token_to_id("[PAD]") == 0
    assert len(ids) == 50
    assert tokenizer.encode("Zebra!", add_special_tokens=False).tokens[-1] == "!"
    assert "[UNK]" not in tokenizer.encode("zebra 42?", add_special_tokens=False).tokens
    assert tokenizer.encode("[Etts]", add_special_tokens=False).ids == [ids["[Etts]"]]


def test_vocabularies_that_are_too_small(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="vocab_size: expected at least"):
        write_text_vocabulary(tmp_path, 100, 0)
    with pytest.raises(ModelError, match="num_text_tokens: expected at least"):
        write_speech_vocabulary(tmp_path, 100, 0)


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["random_checkpoint", "tiny", str(tmp_path / "out"), "--seed", "7"])
    __main__.main()
    write(SIZES["tiny"], tmp_path / "same", seed=7)
    name = "tokenizer.json"
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    assert checkpoint.read_config(tmp_path / "out").language == SIZES["tiny"].language
