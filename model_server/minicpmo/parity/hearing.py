"""Sound against `mel.npz`, the mel rules of `full_forced.npz`, and `audio_encoder.npz`."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.minicpmo.inputs.mel import embedding_count, log_mel, split_clip
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.whisper import FRAMES_PER_SECOND, AudioEncoder
from model_server.minicpmo.parity.pictures import samples
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import Node, VectorSet

MEL, RULES, ENCODER = "mel.npz", "full_forced.npz", "audio_encoder.npz"
SAMPLES = 4096
TOLERANCE = 1e-4

Clip = npt.NDArray[np.float32]


def check(vectors: VectorSet, report: Report, model: MiniCPMO) -> None:
    """Every mel, every chunk of the streaming encoder, and the encoder over whole signals."""
    for case in vectors.data("mel_cases"):
        _check_mel(vectors, report, case)
    for case in vectors.data("mel_rule_cases"):
        _check_rule(vectors, report, case)
    if vectors.keys(ENCODER):
        with torch.inference_mode():
            _Encoder(vectors, report, model.audio).check()


def _check_mel(vectors: VectorSet, report: Report, case: Node) -> None:
    key = case["key"].value
    mels = [log_mel(piece) for piece in split_clip(_clip(vectors, key, case["n_samples"].value))]
    # Clips of one call are padded with zeros, which is not what silence is.
    ours = torch.stack([F.pad(mel, (0, mels[0].shape[1] - mel.shape[1])) for mel in mels])
    report.same(case["shape"], list(ours.shape))
    report.near_node(case["sum"], float(ours.double().sum()), TOLERANCE * ours.numel())
    report.close(MEL, f"{key}_lens", np.array([mel.shape[1] for mel in mels]), 0.0)
    if vectors.has(MEL, key):
        report.close(MEL, key, ours, TOLERANCE)
    if vectors.has(MEL, f"{key}_samples"):
        report.close(MEL, f"{key}_samples", samples(ours.numpy(), SAMPLES), TOLERANCE)
    if vectors.has(MEL, f"{key}_first"):
        report.close(MEL, f"{key}_first", ours[0, :, : vectors.array(MEL, f"{key}_first").shape[1]], TOLERANCE)
    if vectors.has(MEL, f"{key}_last"):
        report.close(MEL, f"{key}_last", ours[0, :, -vectors.array(MEL, f"{key}_last").shape[1] :], TOLERANCE)


def _clip(vectors: VectorSet, key: str, count: int) -> Clip:
    """The sound of a case: silence, a wave of its own, or the start of the long wave."""
    if key.startswith("silence"):
        return np.zeros(count, np.float32)
    waves = [name for name in vectors.keys(MEL) if name.endswith("_i16")]
    own = f"wave{key.removeprefix('m').removesuffix('s')}_i16"
    name = own if own in waves else max(waves, key=lambda wave: len(vectors.array(MEL, wave)))
    return vectors.wave(MEL, name)[:count]


def _check_rule(vectors: VectorSet, report: Report, case: Node) -> None:
    key = case["key"].value
    clip = vectors.wave(RULES, f"{key}_i16")
    ours = log_mel(clip)
    report.same(case["n_samples"], len(clip))
    report.same(case["shape"], [1, *ours.shape])
    report.close(RULES, key, ours[None], TOLERANCE)
    # Above -2 where frames that are not kept raised the floor.
    report.near_node(case["floor_minus_kept_max"], float(ours.min() - ours.max()), TOLERANCE)


class _Encoder:
    """The checks of one encoder over one signal cut into chunks."""

    def __init__(self, vectors: VectorSet, report: Report, encoder: AudioEncoder) -> None:
        self.vectors, self.report, self.encoder = vectors, report, encoder
        self.signal = vectors.wave(ENCODER, "waves_i16")
        ends = list(accumulate(vectors.array(ENCODER, "wave_lens").tolist()))
        self.chunks = [self.signal[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        self.mels = [log_mel(chunk) for chunk in self.chunks]

    def check(self) -> None:
        self.check_stream()
        self.check_whole("full", None)
        self.check_whole("chunk1s", int(self.encoder.config.chunk_seconds * FRAMES_PER_SECOND))
        self.check_batch()
        self.check_repeat()

    def check_stream(self) -> None:
        cache, lengths = self.encoder.new_cache(), []
        for number, mel in enumerate(self.mels):
            self._close(f"mel{number}", mel[None])
            self._close(f"stream_hidden{number}", self.encoder.listen(mel, cache)[None])
            self._close(f"stream_embed{number}", self.encoder.stream(mel, cache))
            lengths.append(cache.length)
        self.report.close(ENCODER, "stream_cache_len", np.array(lengths), 0.0)
        self._close("stream_k_layer0", _cached(cache.keys[0], cache))
        self._close("stream_v_last", _cached(cache.values[-1], cache))

    def check_whole(self, kind: str, block: int | None) -> None:
        hidden = self.encoder.hidden([log_mel(self.signal)], block)
        self._close(f"{kind}_hidden", hidden)
        self._close(f"{kind}_embed", self.encoder.project(hidden)[0])

    def check_batch(self) -> None:
        """Two chunks in one batch: the first ones of the lengths that are kept."""
        kept = [self.vectors.array(ENCODER, key) for key in ("batch2_embed0", "batch2_embed1")]
        chunks: list[int] = []
        for rows in (len(embeddings) for embeddings in kept):
            fitting = (n for n, chunk in enumerate(self.chunks) if embedding_count(len(chunk)) == rows)
            chunks.append(next(n for n in fitting if n not in chunks))
        for number, ours in enumerate(self.encoder.encode([self.mels[n] for n in chunks])):
            self._close(f"batch2_embed{number}", ours)

    def check_repeat(self) -> None:
        """The first chunk over and over, until the cache is full and starts again."""
        cache, lengths = self.encoder.new_cache(), []
        for number in range(len(self.vectors.array(ENCODER, "repeat_cache_len"))):
            ours = self.encoder.stream(self.mels[0], cache)
            lengths.append(cache.length)
            if self.vectors.has(ENCODER, f"repeat_embed{number}"):
                self._close(f"repeat_embed{number}", ours)
        self.report.close(ENCODER, "repeat_cache_len", np.array(lengths), 0.0)

    def _close(self, key: str, ours: Tensor) -> None:
        self.report.close(ENCODER, key, ours, TOLERANCE)


def _cached(buffer: Tensor, cache: KVCache) -> Tensor:
    return buffer[None, :, : cache.length]
