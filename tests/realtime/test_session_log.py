"""The replay log: what it keeps, what it lets go, and in which order."""

from __future__ import annotations

from model_server.protocol import PictureItem, SessionConfig, TextItem, Unit
from realtime.session.log import ConfigEntry, Entry, ItemEntry, Place, ReplyEntry, SessionLog, item_bytes

PICTURE = bytes(1_000)
AUDIO = bytes(100)


def written(seq: int, *, picture: bool = True) -> ItemEntry:
    item = Unit(audio=AUDIO, pictures=[PICTURE] if picture else [])
    return ItemEntry(seq=seq, item=item, wire=seq, place=Place.WRITTEN)


def filled(count: int, *, max_bytes: int = 10_000, max_entries: int = 100) -> SessionLog:
    log = SessionLog(SessionConfig(), max_bytes=max_bytes, max_entries=max_entries)
    for seq in range(1, count + 1):
        log.add(written(seq))
    return log


def pictures(log: SessionLog) -> list[int]:
    return [len(e.item.pictures) for e in log.entries if isinstance(e, ItemEntry) and isinstance(e.item, Unit)]


def test_items_weigh_what_they_carry() -> None:
    assert item_bytes(Unit(audio=AUDIO, pictures=[PICTURE, PICTURE])) == 2_100
    assert item_bytes(PictureItem(jpeg=PICTURE)) == 1_000
    assert item_bytes(TextItem(text="abc")) == 3


def test_the_oldest_pictures_go_first() -> None:
    log = filled(12)
    assert pictures(log) == [*[0] * 4, *[1] * 8]
    assert log.bytes == 12 * 100 + 8 * 1_000
    assert (log.pictures_trimmed, log.entries_trimmed) == (4, 0)


def test_then_the_oldest_entries_go() -> None:
    log = filled(120, max_entries=1_000)
    assert log.bytes <= 10_000
    assert log.entries_trimmed == 120 - len(log.entries)
    assert log.after_seq(120) == len(log.entries)
    assert log.after_seq(1) is None


def test_entries_are_bounded_by_number_too() -> None:
    log = filled(50, max_bytes=10**9, max_entries=20)
    assert len(log.entries) == 20
    assert log.last_wire == 50
    assert log.wire_of(30) == 30
    assert log.wire_of(29) is None


def test_what_is_not_written_yet_is_never_let_go() -> None:
    log = SessionLog(SessionConfig(), max_bytes=500, max_entries=2)
    for seq in range(1, 6):
        entry = written(seq)
        entry.place = Place.SENT
        log.add(entry)
    assert len(log.entries) == 5
    assert pictures(log) == [1] * 5


def test_eviction_takes_the_replies_between_and_keeps_the_settings() -> None:
    log = SessionLog(SessionConfig())
    reply = ReplyEntry(response_id="r1", place=Place.WRITTEN)
    late = ReplyEntry(response_id="r2", place=Place.WRITTEN)
    settings = ConfigEntry(config=SessionConfig(instructions="x"), place=Place.WRITTEN)
    for entry in (written(1), reply, settings, written(2), late, written(3)):
        log.add(entry)
    assert log.evict(2) == 2
    assert [getattr(entry, "response_id", None) for entry in log.entries] == ["r2", None]
    assert log.config.instructions == "x"
    assert (log.after_seq(2), log.after_seq(3), log.last_wire) == (0, 2, 3)


def test_evicting_twice_or_too_much_is_no_harm() -> None:
    log = filled(3)
    assert log.evict(2) == 2
    assert log.evict(2) == 2
    assert log.evict(99) == 3
    assert (log.entries, log.bytes, log.last_wire) == ([], 0, 3)


def test_the_bytes_follow_what_grows_and_what_is_taken_out() -> None:
    log = filled(2)
    reply = ReplyEntry(response_id="r1", place=Place.WRITTEN)
    log.add(reply)
    reply.settle("hello", b"tokens")
    log.recount(reply)
    assert log.bytes == 2_200 + 6
    taken: list[Entry] = log.entries[1:]
    log.take_out(taken)
    assert log.bytes == 1_100
    assert log.restart() != []
    assert (log.bytes, log.last_wire) == (0, 0)


def test_numbers_are_found_at_the_server_and_here() -> None:
    log = filled(3)
    assert [log.seq_at(wire) for wire in (0, 1, 3, 9)] == [0, 1, 3, 3]
    assert [log.after_wire(wire) for wire in (0, 1, 3, 9)] == [0, 1, 3, 3]
    assert log.after_last_wire == 3
