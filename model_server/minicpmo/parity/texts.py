"""What is spoken of a text, how rounds become text, and where the special tokens are."""

from __future__ import annotations

from collections.abc import Callable

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import INDEX, Node, VectorSet
from model_server.minicpmo.words.rounds import decode_round
from model_server.minicpmo.words.spoken_text import SpokenLanguage, detect_language, read_digits, sentence_end
from model_server.minicpmo.words.tokens import SpeechTokenizer, TextTokenizer


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Every rule on text of the set, and both vocabularies' special tokens."""
    for section in ("utils", "utils_more"):
        _rules(vectors.data(section), report, model.tokenizer)
    _names(vectors.data("specials"), report, model.tokenizer)
    _names(vectors.data("tts_specials"), report, model.speech_tokenizer)
    _ends(vectors.data("bos_eos_pad"), report, model.tokenizer)


def _rules(rules: Node, report: Report, tokenizer: TextTokenizer) -> None:
    by_text: dict[str, Callable[[str], object]] = {
        "sentence_end": sentence_end,
        "detect_language": detect_language,
        "llm_tokenize": tokenizer.encode,
    }
    for name, rule in by_text.items():
        if name in rules:
            texts = rules[name].keys()
            for text in texts:
                report.same(rules[name][text], rule(text))
    if "replace_numbers" in rules:
        for case in rules["replace_numbers"]:
            text, language, expected = case.value
            report.equal(INDEX, case.path, _read(text, language), expected)
    if "decode_text" in rules:
        for case in rules["decode_text"]:
            report.same(case["out"], decode_round(tokenizer, case["ids"].value))


def _read(text: str, language: SpokenLanguage | None) -> str:
    """Digits in the language given, or in that of the text."""
    return read_digits(text, language or detect_language(text))


def _names(names: Node, report: Report, tokenizer: TextTokenizer | SpeechTokenizer) -> None:
    """Each token by its string is one token, that one, and is written so."""
    for node in names:
        token = node.path.partition(".")[2]
        report.same(node, _only(tokenizer.encode(token)))
        report.equal(INDEX, f"{node.path} (written)", tokenizer.decode([node.value]), token)


def _only(ids: list[int]) -> int | list[int]:
    return ids[0] if len(ids) == 1 else ids


def _ends(ids: Node, report: Report, tokenizer: TextTokenizer) -> None:
    if len(ids):
        special = tokenizer.specials
        report.same(ids, [special.im_start, special.im_end, special.end_of_text])
