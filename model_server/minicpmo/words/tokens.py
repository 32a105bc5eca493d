"""The two vocabularies: the language model's byte-level BPE, and the speech model's WordPiece.

Special tokens are looked up by their strings, never by number: their places differ between checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from tokenizers import Tokenizer

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Specials:
    """Ids of the tokens that the prompts are made of."""

    im_start: int
    im_end: int
    end_of_text: int
    unknown: int
    image_start: int
    image_end: int
    image_id_start: int
    image_id_end: int
    slice_start: int
    slice_end: int
    audio_start: int
    audio_end: int
    unit: int
    speaker_start: int
    speaker: int
    speaker_end: int
    speech_start: int
    speech_end: int

    @property
    def terminators(self) -> tuple[int, int]:
        """Either ends a reply."""
        return self.im_end, self.end_of_text


TOKEN_STRINGS: dict[str, str] = {
    "im_start": "<|im_start|>",
    "im_end": "<|im_end|>",
    "end_of_text": "<|endoftext|>",
    "unknown": "<unk>",
    "image_start": "<image>",
    "image_end": "</image>",
    "image_id_start": "<image_id>",
    "image_id_end": "</image_id>",
    "slice_start": "<slice>",
    "slice_end": "</slice>",
    "audio_start": "<|audio_start|>",
    "audio_end": "<|audio_end|>",
    "unit": "<unit>",
    "speaker_start": "<|spk_bos|>",
    "speaker": "<|spk|>",
    "speaker_end": "<|spk_eos|>",
    "speech_start": "<|tts_bos|>",
    "speech_end": "<|tts_eos|>",
}
"""How each is written."""


class TextTokenizer:
    """The language model's vocabulary."""

    def __init__(self, folder: Path) -> None:
        """Raises `CheckpointError` if the folder has no such vocabulary, or a special token is missing in it."""
        self._tokenizer = _read(folder / "tokenizer.json")
        self.specials = Specials(**{field.name: self._special(field.name) for field in fields(Specials)})

    def _special(self, name: str) -> int:
        token = TOKEN_STRINGS[name]
        found = self._tokenizer.token_to_id(token)
        unknown = self._tokenizer.token_to_id(TOKEN_STRINGS["unknown"])
        if found is None or (name != "unknown" and found == unknown):
            raise CheckpointError(f"tokenizer.json: expected the special token {token}, found none: wrong tokenizer?")
        return int(found)

    @property
    def size(self) -> int:
        """Number of tokens, special ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def special_strings(self) -> frozenset[str]:
        """Every special token as it is written; none of them may come from a person's text."""
        return frozenset(
            token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special
        )

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens written in it become the special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens written out, bytes that are no UTF-8 as U+FFFD."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


class SpeechTokenizer:
    """The speech model's vocabulary."""

    START, TEXT_END, SPEAKER, AUDIO_START, PAD = "[Stts]", "[Etts]", "[spk_emb]", "[Ptts]", "[PAD]"

    def __init__(self, folder: Path, config: SpeechConfig) -> None:
        """`folder` is the checkpoint's `assets/chattts_tokenizer`. Raises `CheckpointError`."""
        self._tokenizer = _read(folder / "tokenizer.json")
        self.start_id = self._named(self.START)
        self.text_end_id = self._named(self.TEXT_END, config.text_eos_id)
        self.speaker_id = self._named(self.SPEAKER, config.speaker_id)
        self.audio_start_id = self._named(self.AUDIO_START, config.audio_bos_id)
        self.pad_id = self._named(self.PAD)

    def _named(self, token: str, configured: int | None = None) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"chattts_tokenizer: expected the token {token}, found none: wrong tokenizer?")
        if configured is not None and found != configured:
            raise CheckpointError(f"chattts_tokenizer: {token} is {found}, config.json says {configured}")
        return int(found)

    @property
    def size(self) -> int:
        """Number of tokens, control tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any token around it."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def offset(self, text: str, tokens: int, inside_words: bool = False) -> int:
        """Where the word that holds token number `tokens` begins in `text`, or with `inside_words` the token itself.

        The text's length if there are no more tokens.
        """
        found = self._tokenizer.encode(text, add_special_tokens=False)
        if tokens >= len(found.ids):
            return len(text)
        first = max(tokens, 0)
        return int(found.offsets[first if inside_words else found.word_ids.index(found.word_ids[first])][0])

    def ends(self, text: str) -> list[int]:
        """Where each token of `text` ends in it."""
        return [end for _, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    def decode(self, ids: list[int]) -> str:
        """The text of ids; a leading continuation piece keeps its `##`."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _read(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # The library raises bare Exceptions.
        raise CheckpointError(f"{file}: no tokenizer: {error}") from error
