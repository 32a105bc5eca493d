"""Whatever a gateway sends wrongly: a typed error in words, and a session that goes on as if it had not come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from model_server.doubles.echo import EchoEngine
from model_server.protocol import (
    Append,
    Cancel,
    Error,
    Generate,
    GenerateOptions,
    Open,
    Prefill,
    Prefilled,
    Refused,
    Request,
    Rollback,
    RolledBack,
    SessionConfig,
    TextItem,
    Update,
    Updated,
    encode,
)
from tests.model_server.samples import TURNS, unit
from tests.model_server.test_items import BAD_ITEMS
from tests.model_server.wire import AppPeer, Server, serve, words_of


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve(EchoEngine(), marks=3) as server:
        yield server


GARBAGE: list[tuple[bytes | str, str]] = [
    (b"", "truncated"),
    (b"\xc1\xff garbage", "malformed"),
    (b"\x81", "truncated"),
    (msgspec.msgpack.encode([1, 2]), "Expected `object`, got `array`"),
    (msgspec.msgpack.encode({"seq": 1}), "missing required field `type`"),
    (msgspec.msgpack.encode({"type": "fly"}), "Invalid value 'fly'"),
    (msgspec.msgpack.encode({"type": "prefill", "seq": "1"}), r"Expected `int`, got `str` - at `\$.seq`"),
    (msgspec.msgpack.encode({"type": "prefill", "seq": -1}), r"Expected `int` >= 0 - at `\$.seq`"),
    (msgspec.msgpack.encode({"type": "prefill", "seq": 1, "item": {"type": "smell"}}), "Invalid value 'smell'"),
    (msgspec.msgpack.encode({"type": "rollback"}), "missing required field `to_seq`"),
    (msgspec.msgpack.encode({"type": "generate", "response_id": "a b", "after_seq": 0}), "matching regex"),
    (msgspec.msgpack.encode({"type": "played", "response_id": "r", "ms": -5}), ">= 0"),
    (msgspec.msgpack.encode({"type": "cancel", "response_id": "r", "keep_ms": 1.5}), "Expected `int`, got `float`"),
    ('{"type": "close"}', "expected a binary frame .* got a text frame of 17 characters"),
    (bytes(5 * 1024 * 1024), "at most 4194304 bytes, got 5242880"),
]


@pytest.mark.parametrize(("data", "says"), GARBAGE, ids=[says for _, says in GARBAGE])
async def test_what_cannot_be_decoded(server: Server, data: bytes | str, says: str) -> None:
    gateway = await server.open()
    for _ in range(4):
        await gateway.peer.send(data)
        error = await gateway.until(Error)
        assert error.code == "invalid_message"
        assert re.search(says, error.message), error.message
        await gateway.ask(Update(config=SessionConfig()), Updated)
    await gateway.ask(Prefill(seq=1, item=unit(1)), Prefilled)


async def test_three_in_a_row_close_the_socket(server: Server) -> None:
    gateway = await server.open()
    for _ in range(3):
        await gateway.peer.send(b"\xc1")
    closed = await gateway.closed()
    assert closed.code == 1008
    assert [type(message) for message in gateway.heard[1:]] == [Error] * 3


@pytest.mark.parametrize(("item", "says"), BAD_ITEMS, ids=[says for _, says in BAD_ITEMS])
async def test_a_bad_item_leaves_no_trace(server: Server, item: object, says: str) -> None:
    subject, control = await server.open("subject"), await server.open("control")
    error = await subject.ask(Prefill(seq=1, item=item), Error)  # type: ignore[arg-type]
    assert (error.code, error.seq) == ("invalid_item", 1)
    texts = [words_of(await each.reply("r", await each.write(1, *TURNS[0]))) for each in (subject, control)]
    assert texts[0] == texts[1]


BAD_REQUESTS: list[tuple[Request, str]] = [
    (Prefill(seq=5, item=unit(9)), "stale_seq"),
    (Prefill(seq=0, item=unit(9)), "stale_seq"),
    (Prefill(seq=7, item=unit(9)), "seq_gap"),
    (Append(seq=7, role="user", text="x"), "seq_gap"),
    (Append(seq=6, role="user", text=""), "invalid_item"),
    (Append(seq=6, role="assistant", engine_tokens=b"of another engine"), "invalid_item"),
    (Append(seq=6, role="assistant", engine_tokens=b"double1:\xff"), "invalid_item"),
    (Rollback(to_seq=6), "out_of_order"),
    (Rollback(to_seq=1), "mark_gone"),
    (Generate(response_id="r1", after_seq=5), "out_of_order"),
    (Generate(response_id="new", after_seq=4), "out_of_order"),
    (Generate(response_id="new", after_seq=6), "out_of_order"),
    (Generate(response_id="new", after_seq=5, options=GenerateOptions(say="x" * 8_001)), "invalid_item"),
    (Cancel(response_id="nobody"), "unknown_response"),
    (Cancel(response_id="r1", rollback_to_seq=3), "out_of_order"),
    (Cancel(response_id="r1", discard=True, rollback_to_seq=5), "out_of_order"),
    (Cancel(response_id="r1", discard=True, rollback_to_seq=1), "mark_gone"),
    (Update(config=SessionConfig(mode="no such mode")), "invalid_config"),
    (Open(), "already_open"),
]


@pytest.mark.parametrize(("request_", "code"), BAD_REQUESTS)
async def test_a_request_that_cannot_be_done_changes_nothing(server: Server, request_: Request, code: str) -> None:
    """Both sessions hold items 1 to 4, response r1, item 5; marks reach back three items."""
    subject, control = await server.open("subject"), await server.open("control")
    for gateway in (subject, control):
        await gateway.write(1, *(unit(number) for number in range(1, 5)))
        await gateway.reply("r1", 4)
        await gateway.write(5, unit(5, last=True))
    error = await subject.ask(request_, Error)
    assert error.code == code
    assert len(error.message) > 20
    texts = [words_of(await each.reply("last", 5)) for each in (subject, control)]
    assert texts[0] == texts[1]


async def test_the_first_message_is_open(server: Server) -> None:
    gateway = await server.connect()
    for request in (Prefill(seq=1, item=unit(1)), Rollback(to_seq=0), Update(config=SessionConfig())):
        assert (await gateway.ask(request, Error)).code == "not_open"
    await gateway.open()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Open(protocol=2), "protocol_mismatch"),
        (Open(protocol=0), "protocol_mismatch"),
        (Open(config=SessionConfig(language="tlh")), "invalid_config"),
        (Open(resume="token of nothing"), "resume_unknown"),
    ],
)
async def test_an_open_that_is_refused_leaves_no_session(server: Server, request_: Open, code: str) -> None:
    gateway = await server.connect()
    refused = await gateway.ask(request_, Refused)
    assert refused.code == code
    assert len(refused.message) > 20
    assert (await gateway.closed()).code == 1000
    await server.host.emptied()
    assert server.host.table.open_count == 0
    await server.open()


@pytest.mark.parametrize("session_id", ["", "a b", "a/b", "ü", "x" * 65, "../x", "a.b"])
async def test_a_session_id_of_another_form_is_refused_before_the_handshake(server: Server, session_id: str) -> None:
    assert await AppPeer(server.app, f"/v1/sessions/{session_id}").accepted() == 400


@pytest.mark.parametrize("token", [None, "", "wrong", "token-of-the-tes", "token-of-the-test2", "tökén"])
async def test_a_wrong_token_is_refused_before_the_handshake(server: Server, token: str | None) -> None:
    assert await AppPeer(server.app, "/v1/sessions/call", token).accepted() == 403


async def test_a_text_item_and_unknown_fields_pass(server: Server) -> None:
    gateway = await server.open()
    newer = msgspec.msgpack.decode(encode(Prefill(seq=1, item=TextItem(text="hello"))))
    newer["from_the_future"] = newer["item"]["too"] = [1, 2, 3]
    await gateway.peer.send(msgspec.msgpack.encode(newer))
    assert (await gateway.until(Prefilled)).seq == 1
    assert (await gateway.ask(Rollback(to_seq=0), RolledBack)).kv_length == 0
