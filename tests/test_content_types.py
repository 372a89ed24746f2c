import pytest

from luna_image_store.content_types import PARSED_JSON, bare, checked
from luna_image_store.errors import BodyMismatch

BOM = b"\xef\xbb\xbf"
FITTING = [
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
    ("application/json; charset=utf-8", b"{}"),
    ("application/pdf", b"%PDF-1.4"),
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
MISFITS = [
    ("application/json", b"{"),
    ("application/json", b"[1,]"),
    ("application/json", b"{'a': 1}"),
    ("application/json", b"text"),
    ("application/json", b"NaN"),
    ("application/json", b"{} {}"),
    ("application/json", b" "),
    ("application/json", BOM),
    ("application/json", b'"\xff"'),
    ("application/json", b'"\xc3"'),
    ("application/json", '{"a": 1}'.encode("utf-16")),
    ("application/json", b"[" * 100_000),
    ("application/json; charset=latin-1", b'"\xe9"'),
    ("application/pdf", b"%PDF"),
    ("application/pdf", b"\n%PDF-1.4"),
    ("application/pdf", b"PK\x03\x04"),
    ("application/zip", b"PK"),
    ("application/zip", b"PK\x01\x02"),
    ("application/zip", b"%PDF-1.4"),
    ("text/plain", b"\xff"),
    ("text/plain", b"text \xc3"),
    ("text/plain; charset=utf-8", "naïve".encode("latin-1")),
    ("text/plain; charset=", b"\xff"),
]


def in_pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 5, 10**6])
@pytest.mark.parametrize(("kind", "data"), FITTING)
def test_a_body_that_fits_its_type_is_passed_through_in_whatever_pieces_it_comes(kind, data, size):
    assert b"".join(checked(kind, in_pieces(data, size))) == data


@pytest.mark.parametrize("size", [1, 2, 5, 10**6])
@pytest.mark.parametrize(("kind", "data"), MISFITS)
def test_a_body_that_does_not_fit_its_type_is_refused(kind, data, size):
    with pytest.raises(BodyMismatch):
        list(checked(kind, in_pieces(data, size)))


def test_a_wrong_signature_is_noticed_before_anything_is_passed_on():
    for kind in ("application/pdf", "application/zip"):
        with pytest.raises(BodyMismatch):
            next(checked(kind, [b"oops, no such thing", b"more"]))


def large_json(end, start=b'["'):
    yield start
    for _ in range(PARSED_JSON // 2**20 + 1):
        yield b"x" * 2**20
    yield end


@pytest.mark.parametrize(("start", "end"), [(b'["', b'"]'), (b' \n["', b'"] \n '), (BOM + b' {"', b'": 1}')])
def test_large_json_is_passed_through(start, end):
    assert sum(map(len, checked("application/json", large_json(end, start)))) > PARSED_JSON


@pytest.mark.parametrize("end", [b"", b"\xff]", b'"],'])
def test_large_json_must_end_as_json_does(end):
    with pytest.raises(BodyMismatch):
        for _ in checked("application/json", large_json(end)):
            pass


@pytest.mark.parametrize("start", [b"", b" <", b"'", BOM * 2 + b'["'])
def test_large_json_must_begin_as_json_does(start):
    with pytest.raises(BodyMismatch):
        for _ in checked("application/json", large_json(b'"]', start)):
            pass


@pytest.mark.parametrize("kind", ["text/plain", "Text/PLAIN ; charset=utf-8", " text/plain;a=b;c=d"])
def test_a_type_is_known_without_its_parameters(kind):
    assert bare(kind) == "text/plain"
