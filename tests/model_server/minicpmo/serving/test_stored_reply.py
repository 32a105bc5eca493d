from __future__ import annotations

import msgspec
import pytest

from model_server.engine import ItemRejected
from model_server.minicpmo.serving.stored_reply import restored, stored


def test_a_reply_comes_back() -> None:
    reply = restored(stored([5, 0, 7], "be brief"), 8)
    assert (reply.ids, reply.instructions) == ([5, 0, 7], "be brief")
    assert stored([]) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"double1:hello",
        msgspec.msgpack.encode([2, [1], ""]),
        msgspec.msgpack.encode([1, [], ""]),
        msgspec.msgpack.encode([1, [8], ""]),
        msgspec.msgpack.encode([1, [-1], ""]),
        msgspec.msgpack.encode([1, ["x"], ""]),
    ],
    ids=["another engine's", "a later version", "nothing", "too large", "negative", "no number"],
)
def test_what_no_engine_of_this_kind_gave_is_refused(data: bytes) -> None:
    with pytest.raises(ItemRejected, match="send text"):
        restored(data, 8)
