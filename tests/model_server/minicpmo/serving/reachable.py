"""What a session keeps alive, found by following every reference."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.cache_slots import Block, Slot, SlotPool

SHARED = (type, ModuleType, BuiltinFunctionType, nn.Module, MiniCPMO, Block, SlotPool)


def reached(*roots: Any) -> list[Any]:
    """All that is reached from these, without the network and slots' neighbours."""
    found, seen, waiting = list[Any](), set[int](), list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, SHARED):
            continue
        seen.add(id(thing))
        found.append(thing)
        # Of a function only what it closes over: its module is no part of the session.
        waiting += (thing.__closure__ or ()) if isinstance(thing, FunctionType) else gc.get_referents(thing)
    return found


def held_bytes(*roots: Any) -> int:
    """Bytes of the tensors that they hold: of a slot its own share, of everything else all that lies behind a view."""
    things = reached(*roots)
    blocks = {slot.block for slot in things if isinstance(slot, Slot)}
    pooled = {_place(buffer) for block in blocks for buffer in (*block.keys, *block.values)}
    apart = {_place(tensor): tensor.untyped_storage().nbytes() for tensor in things if isinstance(tensor, torch.Tensor)}
    shares = [
        buffer[0].nbytes
        for slot in things
        if isinstance(slot, Slot)
        for buffer in (*slot.block.keys, *slot.block.values)
    ]
    return sum(size for place, size in apart.items() if place not in pooled) + sum(shares)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
