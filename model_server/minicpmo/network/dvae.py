"""The mel decoder ("DVAE"): frames of codes to a log-mel of two frames each (specification section 8.7)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import DvaeConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.network.convnext import Conv, ConvNeXtBlock, block_recipes, paired_recipes
from model_server.minicpmo.network.weights import Recipe

GROUPS, LEVELS = 2, 2
"""Each group gives one of a code frame's two mel frames, and has a coarse and a fine codebook."""

DIGITS, BASE = 4, 5
CODES = BASE**DIGITS
"""A code is a number of four digits to the base five."""

FINE = 0.25
"""What a fine code counts against a coarse one."""

DILATION = 2


def code_vectors() -> Tensor:
    """The digits of every code, lowest first, as values -1, -0.5, 0, 0.5, 1: [625, 4] float32."""
    codes = torch.arange(CODES)[:, None] // BASE ** torch.arange(DIGITS)
    return (codes % BASE - BASE // 2).float() / (BASE // 2)


def code_features(*projections: Tensor) -> Tensor:
    """Features [4 * 625, size] of every code of every codebook, of weight [size, 4] and bias [size] of each group.

    The two levels of a group are added up, so only the first of them has the bias.
    """
    tables = []
    for weight, bias in zip(projections[::2], projections[1::2], strict=True):
        values = code_vectors().to(weight.device) @ weight.float().T
        tables += [values + bias.float(), FINE * values]
    return torch.cat(tables).to(projections[0].dtype)


class Dvae(nn.Module):
    """Code features, a stack of ConvNeXt blocks, and the projection to mel bins."""

    def __init__(self, config: DvaeConfig) -> None:
        super().__init__()
        size = config.vq_dim // GROUPS
        self.features = nn.Parameter(torch.empty(GROUPS * LEVELS * CODES, size), requires_grad=False)
        self.reduce = Conv(size, config.bottleneck, 3)
        self.expand = Conv(config.bottleneck, config.hidden_size, 3)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.hidden_size, 4 * config.hidden_size, DILATION) for _ in range(config.num_layers)
        )
        self.widen = Conv(config.hidden_size, config.output_size, 1, bias=False)
        self.mel = Conv(config.output_size, config.num_mel_bins, 3, bias=False)
        self.scale = nn.Parameter(torch.empty(1, config.num_mel_bins, 1), requires_grad=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Log-mel (natural) [mels, 2t] of codes [t, 4], or [B, mels, 2t] of [B, t, 4]. Raises `InputError`."""
        if codes.dim() == 2:
            return self(codes[None])[0]  # type: ignore[no-any-return]
        x = self.dequantised(codes).flatten(1, 2).transpose(1, 2)
        x = self.expand(F.gelu(self.reduce(x)))
        for block in self.blocks:
            x = block(x)
        return self.mel(self.widen(x)) * self.scale  # type: ignore[no-any-return]

    def dequantised(self, codes: Tensor) -> Tensor:
        """Features [B, t, 2, size] of codes [B, t, 4]: of each code frame, those of its two mel frames."""
        if codes.dim() != 3 or codes.shape[2] != GROUPS * LEVELS or not codes.numel():
            raise InputError(f"codes: expected [t, {GROUPS * LEVELS}], at least one frame, got {tuple(codes.shape)}")
        if int(codes.min()) < 0 or int(codes.max()) >= CODES:
            raise InputError(f"codes: expected 0 to {CODES - 1}, got {int(codes.min())} to {int(codes.max())}")
        rows = codes.long() + CODES * torch.arange(GROUPS * LEVELS, device=codes.device)
        return self.features[rows].view(*codes.shape[:2], GROUPS, LEVELS, -1).sum(3)


def recipes(config: DvaeConfig) -> Iterator[Recipe]:
    """How the published tensors become this part's."""
    at = "tts.dvae"
    groups = (f"{at}.vq_layer.quantizer.rvqs.{group}.project_out" for group in range(GROUPS))
    yield Recipe("features", tuple(f"{group}.{kind}" for group in groups for kind in ("weight", "bias")), code_features)
    yield from paired_recipes("reduce", f"{at}.decoder.conv_in.0")
    yield from paired_recipes("expand", f"{at}.decoder.conv_in.2")
    for i in range(config.num_layers):
        yield from block_recipes(f"blocks.{i}", f"{at}.decoder.decoder_block.{i}", "coef")
    yield Recipe("widen.weight", (f"{at}.decoder.conv_out.weight",))
    yield Recipe("mel.weight", (f"{at}.out_conv.weight",))
    yield Recipe("scale", (f"{at}.coef",))
