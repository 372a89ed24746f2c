import json
import time
import tracemalloc
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna_image_store.content_types import PARSED_JSON, media_type, validate_body
from luna_image_store.errors import BodyMismatch

BOM = b"\xef\xbb\xbf"
MATCHING = [
    ("application/json", b"{}"),
    ("application/json", b' \r\n\t[1, 2.5e3, "\\u00e9", null, true, false] \n'),
    ("application/json", '{"é": "☃"}'.encode()),
    ("application/json", b"0"),
    ("application/json", b"-1"),
    ("application/json", b'"text"'),
    ("application/json", b"null"),
    ("application/json", BOM + b'{"a": 1}'),
    ("application/json", BOM + b' \n{"a": 1}'),
    ("application/json", b'{"a": 1, "a": 2}'),
    ("application/json", rb'"\ud83d"'),
    ("application/json", rb'"\uD83D"'),
    ("application/json", rb'"\uDe00\ud83D"'),
    ("application/json", rb'"\ud83d\ud83d\ude00"'),
    ("application/json", rb'"\ud83d\n"'),
    ("application/json", rb'"\ud83d\\"'),
    ("application/json", rb'"\\\ud83d"'),
    ("application/json", rb'"\\ud83d"'),
    ("application/json", rb'"\\ud8"'),
    ("application/json", rb'{"\ud83d": "\udfff", "\udbff": 1}'),
    ("application/json", BOM + rb'"\ud83d"'),
    ("application/json; charset=utf-8", b"{}"),
    ("application/pdf", b"%PDF-1.4"),
    ("application/pdf", b"\n%PDF-1.4"),
    ("application/pdf", BOM + b"%PDF-1.4"),
    ("application/pdf", b"%PDF%PDF-1.4"),
    ("application/pdf", b"%PDF-"),
    ("application/zip", b"PK\x03\x04..."),
    ("application/zip", b"PK\x05\x06" + bytes(18)),
    ("application/zip", b"PK\x07\x08..."),
    ("text/plain", b"text"),
    ("text/plain", "naïve ☃".encode()),
    ("text/plain; charset=UTF-8", b"text"),
    ('text/plain; format=flowed; charset="us-ascii"', b"text"),
    ("text/plain; charset=latin-1", "naïve".encode("latin-1")),
    ("text/plain; charset=utf-16", "text".encode("utf-16")),
]
MISMATCHES = [
    ("application/json", b"{"),
    ("application/json", b"[1,]"),
    ("application/json", b"{'a': 1}"),
    ("application/json", b"text"),
    ("application/json", b"NaN"),
    ("application/json", b"{} {}"),
    ("application/json", b" "),
    ("application/json", BOM),
    ("application/json", rb'"\ud8"'),
    ("application/json", rb'"\ud83d'),
    ("application/json", rb'"\ud83d" "'),
    ("application/json", rb'"\ud83d\"'),
    ("application/json", rb'"\ud83d\x"'),
    ("application/json", rb'"\ud83g"'),
    ("application/json", rb'["\ud8", "3d"]'),
    ("application/json", rb"\ud83d"),
    ("application/json", rb"[1\\]"),
    ("application/json", b'"\\ud83d\n"'),
    ("application/json", b'"\xed\xa0\x80"'),
    ("application/json", b'"\xff"'),
    ("application/json", b'"\xc3"'),
    ("application/json", '{"a": 1}'.encode("utf-16")),
    ("application/json", b"[" * 100_000),
    ("application/json; charset=latin-1", b'"\xe9"'),
    ("application/pdf", b"%PDF"),
    ("application/pdf", b"%pdf-1.4"),
    ("application/pdf", b"PK\x03\x04"),
    ("application/zip", b"PK"),
    ("application/zip", b"PK\x01\x02"),
    ("application/zip", b"%PDF-1.4"),
    ("text/plain", b"\xff"),
    ("text/plain", b"text \xc3"),
    ("text/plain; charset=utf-8", "naïve".encode("latin-1")),
    ("text/plain; charset=", b"\xff"),
]


def in_chunks(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 5, 10**6])
@pytest.mark.parametrize(("kind", "data"), MATCHING)
def test_a_body_that_matches_its_type_is_passed_on_in_chunks_of_any_size(kind, data, size):
    assert b"".join(validate_body(kind, in_chunks(data, size))) == data


@pytest.mark.parametrize("size", [1, 2, 5, 10**6])
@pytest.mark.parametrize(("kind", "data"), MISMATCHES)
def test_a_body_that_does_not_match_its_type_is_refused(kind, data, size):
    with pytest.raises(BodyMismatch):
        list(validate_body(kind, in_chunks(data, size)))


def test_a_wrong_signature_is_refused_before_the_first_chunk():
    for kind in ("application/pdf", "application/zip"):
        with pytest.raises(BodyMismatch):
            next(validate_body(kind, [b"another signature", b"more"]))


@pytest.mark.parametrize("size", [1, 1023, 1024, 1027, 10**6])
def test_a_pdf_signature_may_begin_in_the_first_1024_bytes(size):
    data = b"x" * 1023 + b"%PDF-1.4"
    assert b"".join(validate_body("application/pdf", in_chunks(data, size))) == data


@pytest.mark.parametrize("size", [1, 1023, 1024, 1028, 10**6])
def test_a_pdf_signature_may_not_begin_later(size):
    with pytest.raises(BodyMismatch):
        list(validate_body("application/pdf", in_chunks(b"x" * 1024 + b"%PDF-1.4", size)))


def test_a_body_that_is_not_a_pdf_is_refused_after_its_first_bytes():
    body = repeat(b"x", 2000)
    with pytest.raises(BodyMismatch):
        next(validate_body("application/pdf", body))
    assert len(list(body)) == 2000 - 1028


def test_a_pdf_in_tiny_chunks_takes_constant_memory():
    tracemalloc.start()
    length = sum(map(len, validate_body("application/pdf", chain([b"x", b"%PDF-"], repeat(b"x", 300_000)))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length == 300_006
    assert peak < 100_000


NESTED_JSON = {
    "2,000 arrays": b"[" * 2000 + b"]" * 2000,
    "1,000,000 arrays": b"[" * 10**6 + b"]" * 10**6,
    "1,000,000 objects": b'{"": ' * 10**6 + b"1.5e3" + b"}" * 10**6,
    "arrays in objects": b'[{"a": 1, "b": ' * 50_000 + b"[ ]" + b', "c": { }}, true]' * 50_000,
    "values before and after": b'[1, "]", {"[": null}, ' * 50_000 + b"0" + b', "\\"]", [] ]' * 50_000,
    "many strings": b"[" * 2000 + b'"a", "\\\\", "\\"", "", ' * 10_000 + b"0" + b"]" * 2000,
    "a number of 10,000 digits": b"[" * 2000 + b"9" * 10_000 + b"]" * 2000,
    "surrounding white space": b" \n" + b"[ \t" * 2000 + b"\r] " * 2000 + b"\n ",
    "half a surrogate pair": b"[" * 2000 + rb'{"\ud83d": "\uDE00\\"}' + b"]" * 2000,
    "a byte order mark": BOM + b"[" * 2000 + b"]" * 2000,
}
WRONG_NESTED_JSON = {
    "unclosed arrays": b"[" * 10**6,
    "unclosed objects": b'{"":' * 10**6,
    "unclosed arrays after half a surrogate pair": rb'["\ud83d", ' + b"[" * 2000,
    "a comma after the value": b"[" * 2000 + b"]" * 2000 + b",",
    "bytes that are not UTF-8": b"[" * 2000 + b"\xfe\xff" + b"]" * 2000,
}
WRONG_VALUES = (
    rb'1 2 | "" "" | 1 "" | [] [] | 1 [] | [] 1 | [1 [2]] | [[1] 2] | [,1] | [1,,2] | [1,] | [,] | , | : | 1, | ,1'
    rb' | {"a"} | {1} | {"a", "b": 1} | {"a": 1, "b"} | {"a": 1, 2} | {"a": 1 "b": 2} | {"a": 1, } | {, "a": 1}'
    rb' | {"a":} | {"a"::1} | {"a": "b": 1} | {: 1} | {1: 2} | {[]: 1} | {[], "a": 1} | {{}: 1} | {{}} | {"a" "b": 1}'
    rb' | ["a": 1] | [1, "a": 2] | [1: 2] | [{"a": 1}, "b": 2] | [1} | {"a": 1] | [{"a": 1]} | {"a": [1}] | (1) | [(])'
    rb' | 01 | - | 1. | 1e | tru | Infinity | tr ue | "\x" | "\u12" | ["\u12", "34"] | \"a\" | \\'
).split(b" | ")
WRONG_VALUES += [b'"\n"', b"[\x0b1]", b"\x0c1"]
PARTS = ["", *'[]{},:"_ \\', '"k":', ',"":', '{"":', '"[{,:"', "1", "-", "01", "é", "NaN", "\n", "\\\\", '\\"', "\\ud83d", "\\x"]
SCALARS = ["1", "-0.5e+3", " true", "null\n", '""', '"é"', '"[{,:"', '"\\\\"', '"\\"]"', '"\\ud83d"', '"\\uDE00\\n"']
KEYS = ['"a":', '"" :', '"}": ', '"\\ud83d":', '"\\\\":', '"\\"":']
VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda values: f"[ {','.join(values)}]")
        | st.lists(st.tuples(st.sampled_from(KEYS), inner).map("".join), max_size=4).map(
            lambda members: f"{{{','.join(members)} }}"
        )
    ),
)


def is_accepted(data):
    try:
        return b"".join(validate_body("application/json", in_chunks(data, 2**18))) == data
    except BodyMismatch:
        return False


@pytest.mark.parametrize("data", NESTED_JSON.values(), ids=NESTED_JSON)
def test_json_of_any_depth_is_accepted(data):
    assert is_accepted(data)


@pytest.mark.parametrize("data", WRONG_NESTED_JSON.values(), ids=WRONG_NESTED_JSON)
def test_deeply_nested_json_with_a_wrong_end_is_refused(data):
    assert not is_accepted(data)


@pytest.mark.parametrize("value", WRONG_VALUES)
def test_wrong_json_is_refused(value):
    assert not is_accepted(value)


@pytest.mark.parametrize(
    "data", [b"9" * 10_000, b"-0." + b"9" * 10_000, b"1e" + b"9" * 10_000], ids=["integer", "fraction", "exponent"]
)
def test_json_numbers_may_have_any_length(data):
    assert is_accepted(data)


def refuse(constant):
    raise ValueError(constant)


@given(VALUES, st.floats(0, 1), st.integers(0, 2), st.sampled_from(PARTS))
def test_json_is_accepted_if_python_can_parse_it(value, place, cut, part):
    start = int(len(value) * place)
    text = '{"":' + value[:start] + part + value[start + cut :] + "}"
    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        expected = False
    else:
        expected = True
    assert is_accepted(text.encode()) == expected


def test_deeply_nested_json_is_checked_in_less_than_a_second():
    data = b"[" * (PARSED_JSON // 2) + b"]" * (PARSED_JSON // 2)
    start = time.process_time()
    assert is_accepted(data)
    assert time.process_time() - start < 1


def large_json(end, start=b'["'):
    yield start
    for _ in range(PARSED_JSON // 2**20 + 1):
        yield b"x" * 2**20
    yield end


@pytest.mark.parametrize(("start", "end"), [(b'["', b'"]'), (b' \n["', b'"] \n '), (BOM + b' {"', b'": 1}')])
def test_large_json_is_accepted(start, end):
    assert sum(map(len, validate_body("application/json", large_json(end, start)))) > PARSED_JSON


@pytest.mark.parametrize("end", [b"", b"\xff]", b'"],'])
def test_large_json_with_a_wrong_end_is_refused(end):
    with pytest.raises(BodyMismatch):
        for _ in validate_body("application/json", large_json(end)):
            pass


@pytest.mark.parametrize("start", [b"", b" <", b"'", BOM * 2 + b'["'])
def test_large_json_with_a_wrong_start_is_refused(start):
    with pytest.raises(BodyMismatch):
        for _ in validate_body("application/json", large_json(b'"]', start)):
            pass


@pytest.mark.parametrize("kind", ["text/plain", "Text/PLAIN ; charset=utf-8", " text/plain;a=b;c=d"])
def test_the_media_type_has_no_parameters(kind):
    assert media_type(kind) == "text/plain"
