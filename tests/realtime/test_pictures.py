"""JPEG headers, and pictures put together from slices: the good, the bad and the oversized."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.connection.frames import MAX_SHOWN_BYTES, MAX_SLICE_BYTES, MAX_STILL_BYTES, PictureKind, PictureSlice
from realtime.media.pictures import MAX_SIDE, JpegInfo, Picture, PictureAssembler, PictureError, read_jpeg_header
from tests.realtime.images import jpeg_of


def header_only(width: int, height: int, *, frame_marker: int = 0xC0, before: bytes = b"") -> bytes:
    """A JPEG file with a header that says `width` x `height`, and no picture worth the name."""
    frame = struct.pack(">BBHBHHB", 0xFF, frame_marker, 11, 8, height, width, 1) + b"\x01\x11\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    return b"\xff\xd8" + before + frame + scan + b"\x00" * 20 + b"\xff\xd9"


def code_of(jpeg: bytes, max_bytes: int = MAX_SHOWN_BYTES) -> str:
    with pytest.raises(PictureError) as caught:
        read_jpeg_header(jpeg, max_bytes)
    assert str(caught.value)
    return caught.value.code


def test_size_and_dimensions_of_a_real_file() -> None:
    jpeg = jpeg_of(640, 360)
    assert read_jpeg_header(jpeg, MAX_STILL_BYTES) == JpegInfo(640, 360, len(jpeg))


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2])
def test_baseline_extended_and_progressive_files_are_read(marker: int) -> None:
    assert read_jpeg_header(header_only(30, 20, frame_marker=marker), 1_000).width == 30


def test_other_segments_and_fill_bytes_before_the_frame_are_passed_over() -> None:
    thumbnail = jpeg_of(16, 16)
    exif = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    huffman = b"\xff\xff\xff\xc4\x00\x04\x00\x00"
    assert read_jpeg_header(header_only(30, 20, before=exif + huffman), 10_000).height == 20


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (MAX_SIDE + 1, 10), (10, MAX_SIDE + 1), (4_096, 4_096), (65_535, 65_535)]
)
def test_pictures_with_too_many_pixels_are_refused(width: int, height: int) -> None:
    assert code_of(header_only(width, height)) == "too_many_pixels"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"hello",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8hello world",
        b"\xff\xd8\xff\x00\x00\x00",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x01",
        header_only(0, 20),
        header_only(30, 0),
        b"\xff\xd8\xff\xc0\x00\x04\x08\x00" + header_only(3, 3)[2:],
        b"\xff\xd8" + header_only(3, 3)[15:],
    ],
)
def test_what_is_no_jpeg_is_said_to_be_none(data: bytes) -> None:
    assert code_of(data) == "not_jpeg"


def test_a_file_cut_anywhere_is_truncated() -> None:
    jpeg = jpeg_of(64, 48)
    for end in [2, 3, 4, 5, 10, 100, 200, len(jpeg) // 2, len(jpeg) - 2, len(jpeg) - 1]:
        assert code_of(jpeg[:end]) == "truncated", end


def test_a_file_with_bytes_behind_its_end_is_taken() -> None:
    jpeg = jpeg_of(64, 48) + bytes(50)
    assert read_jpeg_header(jpeg, MAX_STILL_BYTES).size == len(jpeg)


def test_a_file_that_is_too_large_is_not_even_looked_at() -> None:
    assert code_of(b"x" * 101, max_bytes=100) == "too_large"


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), keep=st.integers(0, 700))
def test_no_bytes_break_the_reader(data: bytes, keep: int) -> None:
    for candidate in (data, b"\xff\xd8" + data, jpeg_of(32, 32)[:keep] + data):
        try:
            info = read_jpeg_header(candidate, MAX_SHOWN_BYTES)
        except PictureError:
            continue
        assert 0 < info.width <= MAX_SIDE
        assert 0 < info.height <= MAX_SIDE


# ------------------------------------------------------------------------------------------------------ slices


def slices(jpeg: bytes, number: int, kind: PictureKind = PictureKind.STILL, size: int = 1_000) -> list[PictureSlice]:
    return [
        PictureSlice(kind, number, offset, len(jpeg), jpeg[offset : offset + size])
        for offset in range(0, len(jpeg), size)
    ]


def put_together(assembler: PictureAssembler, pieces: list[PictureSlice]) -> list[Picture]:
    return [picture for piece in pieces if (picture := assembler.add(piece)) is not None]


@pytest.fixture
def jpeg() -> bytes:
    return jpeg_of(320, 240)


def test_slices_become_a_picture_with_the_last_one(jpeg: bytes) -> None:
    assembler = PictureAssembler()
    pieces = slices(jpeg, 65_535)
    assert len(pieces) > 3
    assert put_together(assembler, pieces[:-1]) == []
    assert assembler.buffered == sum(len(piece.data) for piece in pieces[:-1])
    (picture,) = put_together(assembler, pieces[-1:])
    assert (picture.kind, picture.jpeg, picture.info.width) == (PictureKind.STILL, jpeg, 320)
    assert assembler.buffered == 0


def test_one_still_and_one_shown_picture_may_alternate(jpeg: bytes) -> None:
    shown = jpeg_of(400, 300)
    stills, others = slices(jpeg, 1), slices(shown, 1, PictureKind.SHOWN)
    mixed = [piece for pair in zip(stills, others, strict=False) for piece in pair]
    rest = [*stills[len(others) :], *others[len(stills) :]]
    pictures = put_together(PictureAssembler(), [*mixed, *rest])
    assert {picture.kind: picture.jpeg for picture in pictures} == {PictureKind.STILL: jpeg, PictureKind.SHOWN: shown}


def test_a_new_number_abandons_the_older_picture(jpeg: bytes) -> None:
    assembler = PictureAssembler()
    put_together(assembler, slices(jpeg, 1)[:-1])
    (picture,) = put_together(assembler, slices(jpeg, 2))
    assert picture.jpeg == jpeg
    assert assembler.buffered == 0


def test_missing_bytes_are_one_error_and_the_next_picture_is_fine(jpeg: bytes) -> None:
    assembler = PictureAssembler()
    pieces = slices(jpeg, 1)
    assembler.add(pieces[0])
    with pytest.raises(PictureError, match=r"goes on with byte 1000 of \d+, got byte 2000") as caught:
        assembler.add(pieces[2])
    assert caught.value.code == "missing_bytes"
    assert assembler.buffered == 0
    assert put_together(assembler, pieces[3:]) == []
    assert len(put_together(assembler, slices(jpeg, 2))) == 1


def test_a_picture_that_starts_in_the_middle_or_changes_its_size_is_an_error(jpeg: bytes) -> None:
    assembler = PictureAssembler()
    first, second, *_ = slices(jpeg, 1)
    with pytest.raises(PictureError, match="goes on with byte 0"):
        assembler.add(second)
    other = PictureSlice(PictureKind.STILL, 2, second.offset, second.total + 1, second.data)
    assembler.add(PictureSlice(PictureKind.STILL, 2, 0, first.total, first.data))
    with pytest.raises(PictureError, match="goes on with"):
        assembler.add(other)


def test_a_whole_picture_that_is_no_jpeg_is_an_error_and_leaves_nothing() -> None:
    assembler = PictureAssembler()
    with pytest.raises(PictureError) as caught:
        put_together(assembler, slices(b"hello" * 500, 1))
    assert caught.value.code == "not_jpeg"
    assert assembler.buffered == 0


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(
            st.sampled_from(list(PictureKind)),
            st.integers(0, 3),
            st.integers(0, 4),
            st.integers(1, 4),
            st.binary(max_size=9),
        ),
        max_size=60,
    )
)
def test_no_order_of_slices_holds_more_than_two_pictures(
    pieces: list[tuple[PictureKind, int, int, int, bytes]],
) -> None:
    assembler = PictureAssembler()
    for kind, number, place, total, data in pieces:
        piece = PictureSlice(kind, number, place * MAX_SLICE_BYTES, total * MAX_SLICE_BYTES, data * 1_000)
        with contextlib.suppress(PictureError):
            assembler.add(piece)
        assert assembler.buffered <= 2 * 5 * MAX_SLICE_BYTES
