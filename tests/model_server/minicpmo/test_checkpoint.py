from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.errors import CheckpointError, DeviceError
from model_server.minicpmo.loading import assembly, checkpoint, hub, layout
from model_server.minicpmo.loading.checkpoint import Progress, Tensors
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import language
from model_server.minicpmo.network.weights import Recipe, as_is
from model_server.minicpmo.random_checkpoint import SIZES, write
from tests.model_server.minicpmo.conftest import unpacked

SHARD = "model-00002-of-00003.safetensors"
NORM = "llm.model.norm.weight"
PARTS = ("language", "vision", "resampler", "audio", "speech", "dvae", "vocos")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "tiny"
    write(SIZES["tiny"], folder, seed=5, shard_bytes=700_000)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(made, tmp_path / "model")
    return tmp_path / "model"


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(str(folder), devices=["cpu"])
    return str(caught.value)


def rows(message: str) -> list[list[str]]:
    """The table's rows, without its title and its head."""
    return [row.split("  ") for row in message.splitlines()[2:]]


def shard_of(folder: Path, name: str) -> Path:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return folder / str(index["weight_map"][name])


def rewrite(file: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    state = load_file(file)
    change(state)
    save_file(state, file)


def test_every_tensor_of_a_golden_folder_arrives(tiny_folder: Path, tensors: Tensors) -> None:
    with unpacked():
        model = checkpoint.load(tiny_folder, devices=["cpu"])
    head, norm = model.language.head.weight, model.language.get_parameter("layers.1.mlp_norm.weight")
    assert head.dtype == torch.float32
    assert torch.equal(head, tensors["llm.lm_head.weight"].float())
    assert torch.equal(norm, tensors["llm.model.layers.1.post_attention_layernorm.weight"].float())
    assert not any(p.requires_grad for part in PARTS for p in getattr(model, part).parameters())
    assert not any(getattr(model, part).training for part in PARTS)


def test_fused_matrices_stand_row_below_row(tiny_folder: Path, tensors: Tensors) -> None:
    with unpacked():
        model = checkpoint.load(tiny_folder, devices=["cpu"])
    names = [f"llm.model.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    expected = torch.cat([tensors[name].float() for name in names])
    assert torch.equal(model.language.get_parameter("layers.0.attention.qkv.weight"), expected)


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), ("fp16", torch.float16)])
def test_number_formats(made: Path, dtype: str, expected: torch.dtype) -> None:
    model = checkpoint.load(made, devices=["cpu"], dtype=dtype)
    for part in PARTS:
        found = {parameter.dtype for parameter in getattr(model, part).parameters()}
        assert found == {torch.float32 if part == "vocos" else expected}, part
    with torch.inference_mode():
        hidden = model.language(model.language.embed([1, 2, 3]), model.language.new_cache())
    assert hidden.dtype == expected
    assert bool(hidden.isfinite().all())


def test_two_devices_compute_what_one_does(made: Path) -> None:
    results = []
    for names in (["cpu"], ["cpu,cpu"]):
        model = checkpoint.load(made, devices=names)
        part, cache = model.language, model.language.new_cache()
        with torch.inference_mode():
            first = part(part.embed(list(range(300, 340))), cache)
            results.append((part.cuts, first, part.logits(part(part.embed([7]), cache))))
    assert [cuts for cuts, *_ in results] == [(), (2,)]
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(results[0][2], results[1][2])


def test_progress_counts_to_the_end(made: Path) -> None:
    seen: list[Progress] = []
    checkpoint.load(made, devices=["cpu"], progress=seen.append)
    assert [step.done for step in seen] == list(range(1, seen[0].total + 1))
    assert list(dict.fromkeys(step.part for step in seen)) == list(PARTS)


def test_a_hub_id_is_downloaded_first(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_download", lambda name, revision, downloaded: made if name == "owner/model" else None)
    assert isinstance(checkpoint.load("owner/model", devices=["cpu"]), MiniCPMO)


def test_all_that_is_wrong_with_the_weights_is_one_table(folder: Path) -> None:
    def change(state: dict[str, Tensor]) -> None:
        del state[NORM]
        state["llm.lm_head.weight"] = state["llm.lm_head.weight"][:-1]
        state["llm.extra"] = torch.zeros(2, dtype=torch.bfloat16)

    assert shard_of(folder, NORM) == shard_of(folder, "llm.lm_head.weight")
    rewrite(shard_of(folder, NORM), change)
    rewrite(
        shard_of(folder, "tts.model.norm.weight"),
        lambda s: s.update({"tts.model.norm.weight": torch.ones(64).double()}),
    )
    found = {row[0] or row[1]: " ".join(row).split(maxsplit=1)[1] for row in rows(refusal(folder))}
    assert set(found) == {NORM, "llm.lm_head.weight", "llm.extra", "tts.model.norm.weight"}
    assert "missing" in found[NORM]
    assert "[639, 128]" in found["llm.lm_head.weight"]
    assert "[640, 128]" in found["llm.lm_head.weight"]
    assert "no such tensor" in found["llm.extra"]
    assert "F64" in found["tts.model.norm.weight"]


def test_nothing_is_read_before_all_is_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(shard_of(folder, NORM), lambda state: state.pop(NORM))
    monkeypatch.setattr(Tensors, "read", lambda *given: pytest.fail("a tensor was read"))
    assert NORM in refusal(folder)


def test_a_truncated_shard(folder: Path) -> None:
    shard = shard_of(folder, NORM)
    shard.write_bytes(shard.read_bytes()[:-10])
    message = refusal(folder)
    assert shard.name in message
    assert "a whole safetensors file" in message


def test_a_shard_that_is_none(folder: Path) -> None:
    shard_of(folder, NORM).write_bytes(b"<html>moved</html>")
    assert "a whole safetensors file" in refusal(folder)


def test_a_file_of_the_index_that_is_not_there(folder: Path) -> None:
    shard = shard_of(folder, NORM)
    shard.unlink()
    assert [shard.name, "no such file"] == [part.strip() for part in rows(refusal(folder))[0] if part][:2]


def test_an_index_that_points_outside_the_folder(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {NORM: "../other.safetensors"}}))
    save_file({NORM: torch.ones(1)}, folder.parent / "other.safetensors")
    assert "../other.safetensors" in refusal(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": 3}', "{}"])
def test_an_index_that_is_none(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    assert "a JSON object with a weight_map" in refusal(folder)


def test_a_tensor_in_two_shards(folder: Path) -> None:
    other = next(file for file in folder.glob("*.safetensors") if file != shard_of(folder, NORM))
    rewrite(other, lambda state: state.update({NORM: torch.ones(128, dtype=torch.bfloat16)}))
    message = refusal(folder)
    assert NORM in message
    assert "again in" in message


def test_no_weights_at_all(folder: Path) -> None:
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    assert "the weights" in refusal(folder)


def test_ignored_tensors_may_be_left_out_or_have_any_shape(folder: Path) -> None:
    def without_encoder(state: dict[str, Tensor]) -> None:
        for name in [name for name in state if name.startswith("tts.dvae.encoder.")]:
            del state[name]

    def with_others(state: dict[str, Tensor]) -> None:
        state["tts.model.embed_tokens.weight"] = torch.zeros(5, 5)
        state["resampler.pos_embed"] = torch.zeros(1, dtype=torch.float64)

    for file in folder.glob("*.safetensors"):
        rewrite(file, without_encoder)
    rewrite(shard_of(folder, NORM), with_others)
    assert isinstance(checkpoint.load(folder, devices=["cpu"]), MiniCPMO)


def test_of_very_many_findings_the_first_are_shown(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        rewrite(file, lambda state: state.clear())
    shown = refusal(folder).splitlines()
    needed = sum(not name.startswith("vocos.") for name in layout.needed_tensors(checkpoint.read_config(folder)))
    assert len(shown) == 2 + 40 + 1
    assert shown[-1].strip() == f"and {needed - 40} more"


def test_only_one_group_of_tensors_is_there_at_a_time(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def read(self: Tensors, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        nonlocal most
        tensor = plain_read(self, name, device, dtype)
        alive.append(weakref.ref(tensor))
        most = max(most, sum(each() is not None for each in alive))
        return tensor

    plain_read = Tensors.read
    monkeypatch.setattr(Tensors, "read", read)
    config = checkpoint.read_config(made)
    for mode in ("none", "int8"):
        checkpoint.load(made, devices=["cpu"], quantize=mode)
    largest_group = max(len(recipe.sources) for each in assembly.all_recipes(config).values() for recipe in each)
    assert most == largest_group


def test_a_vocoder_with_a_tensor_missing_and_one_too_many(folder: Path) -> None:
    file = folder / "assets" / "Vocos.pt"
    state = torch.load(file)
    state["feature_extractor.mel_spec.window"] = torch.zeros(3)
    state["head.more"] = state.pop("head.out.bias")
    torch.save(state, file)
    message = refusal(folder)
    assert "vocos.head.out.bias" in message
    assert "vocos.head.more" in message
    assert "feature_extractor" not in message


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04broken"])
def test_a_damaged_vocoder(folder: Path, content: bytes) -> None:
    (folder / "assets" / "Vocos.pt").write_bytes(content)
    assert "a file of the vocoder's tensors" in refusal(folder)


class Harmful:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, ("harm",)  # type: ignore[return-value]


def test_a_vocoder_that_runs_code_is_refused(folder: Path) -> None:
    torch.save({"head": Harmful()}, folder / "assets" / "Vocos.pt")
    assert "a file of the vocoder's tensors" in refusal(folder)


def test_the_vocoder_missing(folder: Path) -> None:
    (folder / "assets" / "Vocos.pt").unlink()
    assert "Vocos.pt" in refusal(folder)


def test_packed_weights_are_refused_by_name(folder: Path) -> None:
    name = "llm.model.layers.0.mlp.down_proj.qweight"
    rewrite(shard_of(folder, NORM), lambda state: state.update({name: torch.zeros(2, 2, dtype=torch.int32)}))
    message = refusal(folder)
    assert "GPTQ int4" in message
    assert name in message


def test_a_tokenizer_with_more_tokens_than_rows(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] -= 1
    (folder / "config.json").write_text(json.dumps(config))
    assert "tokenizer.json: 640 tokens, expected at most 639 (vocab_size in config.json)" in refusal(folder)


def test_a_tokenizer_of_another_model(folder: Path, made: Path) -> None:
    shutil.copy(made / "assets" / "chattts_tokenizer" / "tokenizer.json", folder / "tokenizer.json")
    assert "wrong tokenizer?" in refusal(folder)


def test_settings_that_are_none(made: Path) -> None:
    with pytest.raises(DeviceError, match="expected one of none, int8, int4, found 'int3'"):
        checkpoint.load(made, devices=["cpu"], quantize="int3")
    with pytest.raises(DeviceError, match="found 'float8'"):
        checkpoint.load(made, devices=["cpu"], dtype="float8")
    with pytest.raises(CheckpointError, match="expected one of tiny, mid, full, found 'huge'"):
        checkpoint.load_random("huge")


def test_a_random_network_needs_no_folder() -> None:
    model = checkpoint.load_random("tiny", devices=["cpu"], seed=2)
    again = checkpoint.load_random("tiny", devices=["cpu"], seed=2)
    assert torch.equal(model.language.embedding, again.language.embedding)
    assert model.tokenizer.size == model.config.language.vocab_size


def test_fill_makes_one_part(tiny_config: ModelConfig, tensors: Tensors) -> None:
    with torch.device("meta"):
        part = language.Language(tiny_config.language)
    filled = checkpoint.fill(part, language.recipes(tiny_config.language), tensors, torch.float16)
    assert {parameter.dtype for parameter in filled.parameters()} == {torch.float16}


def test_fill_notices_a_recipe_that_is_missing_or_wrong(tiny_config: ModelConfig, tensors: Tensors) -> None:
    with torch.device("meta"):
        part = language.Language(tiny_config.language)
    given = list(language.recipes(tiny_config.language))
    with pytest.raises(AssertionError, match="embedding: no recipe makes it"):
        checkpoint.fill(part, given[1:], tensors, torch.float32)
    with pytest.raises(AssertionError, match="the layer has"):
        checkpoint.fill(part, [Recipe("embedding", (NORM,), as_is)], tensors, torch.float32)
