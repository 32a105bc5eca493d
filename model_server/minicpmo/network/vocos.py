"""The vocoder: log-mel to sound at 24 kHz, always in float32 (specification section 8.7)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import VocosConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.network.convnext import (
    KERNEL,
    ChannelNorm,
    Conv,
    ConvNeXtBlock,
    block_recipes,
    paired_recipes,
)
from model_server.minicpmo.network.layers import Linear
from model_server.minicpmo.network.weights import Recipe

LOUDEST = 100.0
"""Greatest magnitude of a spectral bin."""


class Vocos(nn.Module):
    """A spectrum for every mel frame, then an inverse short-time Fourier transform."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = Conv(config.num_mel_bins, config.hidden_size, KERNEL)
        self.norm = ChannelNorm(config.hidden_size)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.hidden_size, config.intermediate_size) for _ in range(config.num_layers)
        )
        self.final_norm = ChannelNorm(config.hidden_size)
        self.head = Linear(config.hidden_size, config.n_fft + 2)
        self.window = nn.Parameter(torch.empty(config.n_fft), requires_grad=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Sound [hop * T] of a log-mel [mels, T], or [B, hop * T] of [B, mels, T]. Raises `InputError`."""
        if mel.dim() == 2:
            return self(mel[None])[0]  # type: ignore[no-any-return]
        if mel.dim() != 3 or mel.shape[1] != self.config.num_mel_bins or not mel.shape[2]:
            expected = f"[{self.config.num_mel_bins}, T], at least one frame"
            raise InputError(f"mel: expected {expected}, got {tuple(mel.shape)}")
        return self.inverse(self.spectrum(mel.float()))

    def spectrum(self, mel: Tensor) -> Tensor:
        """Complex spectra [B, T, n_fft / 2 + 1] of a log-mel [B, mels, T]."""
        x = self.norm(self.embed(mel).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        log_magnitude, phase = self.head(self.final_norm(x.transpose(1, 2))).chunk(2, dim=-1)
        return torch.polar(log_magnitude.exp().clamp(max=LOUDEST), phase)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Overlap-add of the windowed frames [B, T, bins] over their summed squared windows: sound [B, hop * T]."""
        frames = torch.fft.irfft(spectrum, self.config.n_fft) * self.window
        envelope = self._added((self.window**2).expand(1, frames.shape[1], -1))
        return self._added(frames) / envelope

    def _added(self, frames: Tensor) -> Tensor:
        """Frames [B, T, n_fft] added up a hop apart, without the overhang at both ends: [B, hop * T]."""
        hop, size = self.config.hop, self.config.n_fft
        total = hop * (frames.shape[1] - 1) + size
        added = F.fold(frames.transpose(1, 2), (1, total), (1, size), stride=(1, hop))[:, 0, 0]
        overhang = (size - hop) // 2
        return added[:, overhang : total - overhang]


def recipes(config: VocosConfig) -> Iterator[Recipe]:
    """How the tensors of the vocoder's file become this part's."""
    yield from paired_recipes("embed", "vocos.backbone.embed")
    yield from paired_recipes("norm", "vocos.backbone.norm")
    for i in range(config.num_layers):
        yield from block_recipes(f"blocks.{i}", f"vocos.backbone.convnext.{i}", "gamma")
    yield from paired_recipes("final_norm", "vocos.backbone.final_layer_norm")
    yield from paired_recipes("head", "vocos.head.out")
    yield Recipe("window", ("vocos.head.istft.window",))
