"""The token sequence that the speech model reads (specification section 8.1)."""

from __future__ import annotations

from model_server.minicpmo.words.tokens import SpeechTokenizer


def speech_ids(tokenizer: SpeechTokenizer, text: str, reserved: int) -> tuple[list[int], int]:
    """Ids [2 + reserved + 1] of start, speaker slot, text, its end, filling and audio BOS; and the text's tokens.

    Text beyond `reserved` tokens is cut; text that leaves no room has no end token.
    """
    words = tokenizer.encode(text)[:reserved]
    rest = [tokenizer.text_end_id, *[tokenizer.pad_id] * reserved][: reserved - len(words)]
    return [tokenizer.start_id, tokenizer.speaker_id, *words, *rest, tokenizer.audio_start_id], len(words)
