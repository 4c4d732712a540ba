"""Reading JSON strictly, and cutting arrays and lines into the bytes that were sent."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.intake.bodies import DEEPEST, Unreadable, parse_object, split_array, split_lines

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


def utf8(document: object) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b'{"a":1', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":"\xff"}', "not_json"),
        (b'{"a":"\x00"}', "not_json"),
        (b'\x00{"a":1}', "not_json"),
        (b'{"a":"\\ud800"}', "not_json"),
        (b'{"a":1} {"b":2}', "not_json"),
        ('{"a":"é"}'.encode("utf-16"), "not_json"),
        ('{"a":"é"}'.encode("latin-1"), "not_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"1", "not_an_object"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
        (b'{"a":' + b"[" * 1_000_000, "too_deep"),
    ],
)
def test_what_is_not_a_json_object_is_named(body: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as error:
        parse_object(body)
    assert error.value.code == code
    assert error.value.detail


@pytest.mark.parametrize(
    "body",
    [
        '{"name":"Ærø 🚚 \\ud83d\\ude9a","rtl":"שלום مرحبا","nul":"a\\u0000b"}'.encode(),
        b'\xef\xbb\xbf{"a":1}',
        b' \r\n{"a":null}\t',
        b'{"a":' * (DEEPEST - 1) + b"{}" + b"}" * (DEEPEST - 1),
        json.dumps({f"field_{n}": n for n in range(200)}).encode(),
        json.dumps({"flat": [{}] * 5000}).encode(),
        b'{"a":1,"a":2}',
    ],
)
def test_unusual_but_good_objects_are_read(body: bytes) -> None:
    assert isinstance(parse_object(body), dict)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_named_unreadable(body: bytes) -> None:
    with suppress(Unreadable):
        assert isinstance(parse_object(body), dict)


@given(st.lists(OBJECTS.filter(utf8), max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_items_of_an_array_keep_their_very_bytes(
    documents: list[dict[str, object]], indent: int | None, plain: bool
) -> None:
    items = [json.dumps(each, ensure_ascii=plain, indent=indent) for each in documents]
    pieces = split_array((" [\n" + " ,\t".join(items) + " ] ").encode())
    assert [piece.body for piece in pieces] == [item.encode() for item in items]
    assert [piece.document for piece in pieces] == [parse_object(item.encode()) for item in items]


def test_lines_keep_their_very_bytes_and_blank_ones_are_skipped() -> None:
    pieces = split_lines(b'\xef\xbb\xbf{"a": 1}\r\n\r\n {"b":\t2} \n\n')
    assert [piece.body for piece in pieces] == [b'{"a": 1}', b'{"b":\t2}']


@pytest.mark.parametrize(
    ("cut", "body"),
    [(split_array, b'[{"a":1}, 2]'), (split_lines, b'{"a":1}\n[2]'), (split_lines, b'{"a":1}\n{')],
)
def test_the_item_at_fault_is_named(cut: object, body: bytes) -> None:
    with pytest.raises(Unreadable, match="not_") as error:
        cut(body)  # type: ignore[operator]
    assert error.value.detail.startswith("Item 1: ")


def test_an_object_is_no_array() -> None:
    with pytest.raises(Unreadable) as error:
        split_array(b'{"a":[]}')
    assert error.value.code == "not_an_array"
