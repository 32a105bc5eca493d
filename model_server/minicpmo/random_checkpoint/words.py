"""Invented vocabularies that fill every row of the embeddings.

Both know some English words whole, so that texts have about as many tokens as with the published ones; the rest is
invented by the seed. Special tokens stand in places that depend on the seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from model_server.minicpmo.errors import ModelError


def _words(text: str) -> list[str]:
    return text.split()


COMMON = _words(
    "the of and to in is that it for was on are as with his they at be this from have or by one had not but what "
    "all were when we there can an your which their said if do will each about how up out them then she many "
    "some so these would other into has more her two like him see time could no make than first been its who now "
    "people my made over did down only way find use may water long little very after words called just where "
    "most know user assistant"
)

WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UNKNOWN = "<unk>"
PAIRED = ("image", "ref", "box", "quad", "point", "slice", "image_id", "unit", "asr", "query")
NAMED = _words(
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start quad_end "
    "vision_start vision_end vision_pad image_pad video_pad fim_prefix fim_middle fim_suffix fim_pad repo_name "
    "file_sep audio_start audio audio_end spk_bos spk spk_eos tts_bos tts_eos listen speak interrupt vad_start "
    "vad_end"
)
SPECIALS = (
    *(f"<|{name}|>" for name in NAMED),
    *(f"<{slash}{name}>" for name in (*PAIRED, "tool_call") for slash in ("", "/")),
    "<reserved_53>",
    "<reserved_54>",
)
MOST_BYTES = 16

SPEECH_BASICS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPEECH_CONTROLS = tuple(
    f"[{name}]"
    for name in (
        *_words("Sasr Pasr Easr Stts Ptts Etts Sbreak Pbreak Ebreak uv_break v_break lbreak llbreak undefine laugh"),
        *_words("spk_emb empty_spk music pure"),
        *(f"break_{n}" for n in range(8)),
        *(f"laugh_{n}" for n in range(3)),
        *(f"oral_{n}" for n in range(10)),
        *(f"speed_{n}" for n in range(10)),
    )
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_text_vocabulary(folder: Path, size: int, seed: int) -> dict[str, int]:
    """A byte-level BPE of exactly `size` tokens; the ids of its special ones.

    Raises `ModelError` for a size that does not hold the bytes and the special tokens.
    """
    random = Random(seed)
    base, merges = _byte_pairs(size - len(SPECIALS), random)
    specials = random.sample(SPECIALS, len(SPECIALS))
    tokenizer = Tokenizer(models.BPE(vocab=base, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (UNKNOWN, *specials)])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_text_files(folder, base, merges, specials)
    return _ids(tokenizer, (UNKNOWN, *specials))


def _byte_pairs(size: int, random: Random) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """`size` entries with `<unk>` among them, and the merges that make the others of bytes."""
    tokens = dict.fromkeys(_byte_letters())
    if size < len(tokens) + 1:
        raise ModelError(
            f"vocab_size: expected at least {len(tokens) + 1 + len(SPECIALS)}, found {size + len(SPECIALS)}"
        )
    wanted = size - 1
    merges: list[tuple[str, str]] = []
    for left, right in _pairs(list(tokens), random):
        if len(tokens) == wanted:
            break
        if left + right not in tokens and left in tokens and right in tokens:
            tokens[left + right] = None
            merges.append((left, right))
    entries = list(tokens)
    entries.insert(random.randrange(256, len(entries) + 1), UNKNOWN)
    return {token: number for number, token in enumerate(entries)}, merges


def _pairs(known: list[str], random: Random) -> Iterator[tuple[str, str]]:
    """What may become one token: the common words letter by letter, then anything behind anything."""
    for whole in (*(f"Ġ{word}" for word in COMMON), *COMMON):
        for end in range(1, len(whole)):
            yield whole[:end], whole[end]
            known.append(whole[: end + 1])
    while True:
        left, right = random.choice(known), random.choice(known)
        if len(left + right) <= MOST_BYTES:
            yield left, right
            known.append(left + right)


def _byte_letters() -> list[str]:
    """A letter for every byte: the printable ones are themselves and come first, `!` at their head."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = range(256, 256 + 256 - len(printable))
    return [chr(code) for code in (*printable, *others)]


def _write_text_files(folder: Path, base: dict[str, int], merges: list[tuple[str, str]], specials: list[str]) -> None:
    added = {token: len(base) + number for number, token in enumerate(specials)}
    ids = {UNKNOWN: base[UNKNOWN], **added}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    names = {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": UNKNOWN,
    }
    decoder = {str(number): {"content": token, **flags} for token, number in ids.items()}
    _write_json(folder / "vocab.json", base)
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *map(" ".join, merges), "")), encoding="utf-8")
    _write_json(folder / "added_tokens.json", added)
    _write_json(folder / "special_tokens_map.json", {**names, "additional_special_tokens": specials})
    _write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": decoder, **names})


def write_speech_vocabulary(folder: Path, size: int, seed: int) -> dict[str, int]:
    """A WordPiece of exactly `size` tokens; the ids of its control tokens. Raises `ModelError` for too small a size."""
    random = Random(seed)
    base = _word_pieces(size - len(SPEECH_CONTROLS), random)
    controls = random.sample(SPEECH_CONTROLS, len(SPEECH_CONTROLS))
    tokenizer = Tokenizer(models.WordPiece(vocab=base, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (*SPEECH_BASICS, *controls)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join((*base, "")), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "unk_token": "[UNK]", "pad_token": "[PAD]"})
    return _ids(tokenizer, controls)


def _ids(tokenizer: Tokenizer, tokens: Iterable[str]) -> dict[str, int]:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return {token: vocabulary[token] for token in tokens}


def _word_pieces(size: int, random: Random) -> dict[str, int]:
    marks = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    first = [*SPEECH_BASICS, *marks, *(f"##{letter}" for letter in LETTERS + "0123456789")]
    if size < len(first):
        others = len(SPEECH_CONTROLS)
        raise ModelError(f"num_text_tokens: expected at least {len(first) + others}, found {size + others}")
    found = dict.fromkeys(first)
    for piece in _pieces(random):
        if len(found) == size:
            break
        found.setdefault(piece)
    return {token: number for number, token in enumerate(found)}


def _pieces(random: Random) -> Iterator[str]:
    """The common words, then Chinese letters and invented syllables by turns."""
    yield from COMMON
    while True:
        yield chr(random.randrange(0x4E00, 0x9FA6))
        yield random.choice(("", "##")) + "".join(random.choices(LETTERS, k=random.randrange(2, 6)))


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
