"""A reply as bytes, so that another session can be told exactly what was said in this one."""

from __future__ import annotations

import msgspec

from model_server.engine import ItemRejected


class StoredReply(msgspec.Struct, frozen=True, array_like=True):
    """Token ids of a reply, what it was told beforehand (`GenerateOptions.instructions`), and the format's version."""

    version: int
    ids: list[int]
    instructions: str = ""


VERSION = 1


def stored(ids: list[int], instructions: str = "") -> bytes:
    """The bytes of a reply; empty for one that said nothing."""
    return msgspec.msgpack.encode(StoredReply(VERSION, ids, instructions)) if ids else b""


def restored(engine_tokens: bytes, vocabulary: int) -> StoredReply:
    """The reply that `stored` was given. Raises `ItemRejected` for other bytes, or ids of another vocabulary."""
    try:
        reply = msgspec.msgpack.decode(engine_tokens, type=StoredReply)
    except msgspec.MsgspecError as error:
        raise ItemRejected(
            f"expected the engine tokens of this engine, got other bytes ({error}): send text"
        ) from error
    if reply.version != VERSION or not reply.ids:
        raise ItemRejected(f"expected engine tokens of version {VERSION}, got {reply.version}: send text instead")
    if not all(0 <= token < vocabulary for token in reply.ids):
        raise ItemRejected(f"expected engine tokens below {vocabulary}, got {max(reply.ids)}: send text instead")
    return reply
