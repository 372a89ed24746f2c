"""The types that pictures and objects may have, and whether an object's bytes are what its type says.

The check looks as closely as it can with flat memory: text and JSON must be UTF-8 throughout (a text may name another
charset), JSON up to 16 MiB must parse, larger JSON must begin and end as JSON does. A PDF has its signature in its first
1,024 bytes, as PDF readers look for it there; a ZIP begins with a signature.

JSON is what the grammar of RFC 8259 allows. msgspec parses it, but refuses two things that the grammar allows: an escape
that is half of a surrogate pair, and deep nesting. After a refusal msgspec parses the text once more, with another escape of
the same length in place of each surrogate. JSON that is nested too deep for msgspec is parsed in three steps, without recursion:

1. msgspec parses the contents of all strings, joined to one string. The next steps see empty strings only.
2. msgspec parses the values between the brackets: each bracket ends one flat array and begins the next.
3. The brackets must match in pairs. A comma in an array counts as "][", a comma and a key in an object as "}{": a comma or
   a key in the wrong kind of bracket leaves a bracket without its partner.
"""

import codecs
import re
from collections.abc import Iterable, Iterator

import msgspec

from luna_image_store.errors import BodyMismatch

IMAGE_TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff", "image/gif", "image/x-portable-pixmap")
OBJECT_ENDINGS = {"application/json": "json", "application/pdf": "pdf", "application/zip": "zip", "text/plain": "txt"}
PARSED_JSON = 16 * 2**20
JSON_SPACE = b" \t\r\n"
JSON_STARTS = tuple(bytes([start]) for start in b'{["-0123456789tfn')
JSON_ENDS = tuple(bytes([end]) for end in b'}]"0123456789el')
SIGNATURES = {
    "application/pdf": re.compile(rb"(?s:.{0,1023}?)%PDF-"),
    "application/zip": re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"),
}
SIGNED_START = 1023 + len(b"%PDF-")  # bytes in which a signature must be found
UTF8_CHARSETS = ("", "utf-8", "utf8", "us-ascii", "ascii")

BLOCKS = re.compile(rb'(?:[^"]*+"[^"]*+"){1,4096}+|[^"]++')
OPENING, CLOSING = b"\xfe", b"\xff"  # UTF-8 has no such bytes
FLATTEN = bytes.maketrans(b"[{:]}", OPENING * 2 + b"," + CLOSING * 2)
NO_BRACKETS = bytes(set(range(256)) - set(b"[](){:"))
RUNS_STEP = 2**16
RUNS = re.compile(rb"([^\])]*+)([\])]*+)")
PARTNERS = bytes.maketrans(b"])", b"[(")


def bare(content_type: str) -> str:
    """Strip the parameters from a content type."""
    return content_type.partition(";")[0].strip().lower()


def checked(content_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass a body through; raise BodyMismatch as soon as it is not what its type says, at its end at the latest."""
    kind = bare(content_type)
    body = iter(chunks)
    if kind in SIGNATURES:
        return _signed(body, SIGNATURES[kind])
    if kind == "application/json":
        return _json(_utf8(body))
    return _utf8(body) if _charset(content_type) in UTF8_CHARSETS else body


def _charset(content_type: str) -> str:
    for parameter in content_type.lower().split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return value.strip().strip('"')
    return ""


def _signed(chunks: Iterator[bytes], signature: re.Pattern[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= SIGNED_START or signature.match(start):
            break
    if not signature.match(start):
        raise BodyMismatch
    yield start
    yield from chunks


def _utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
            yield chunk
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as ex:
        raise BodyMismatch from ex


def _json(chunks: Iterator[bytes]) -> Iterator[bytes]:
    whole: bytearray | None = bytearray()
    end = b""
    for chunk in chunks:
        end = chunk.rstrip(JSON_SPACE)[-1:] or end
        if whole is not None:
            whole += chunk
            if len(whole) > PARSED_JSON:
                if not _without_mark(bytes(whole)).lstrip(JSON_SPACE).startswith(JSON_STARTS):
                    raise BodyMismatch
                whole = None
        yield chunk
    if whole is not None:
        _parse(_without_mark(bytes(whole)))
    elif end not in JSON_ENDS:
        raise BodyMismatch


def _without_mark(text: bytes) -> bytes:
    return text.removeprefix(codecs.BOM_UTF8)


def _parse(text: bytes) -> None:
    """Parse JSON without building anything from it."""
    try:
        _decode(text)
    except (BodyMismatch, RecursionError):
        _parse_closely(_without_surrogates(text))


def _parse_closely(text: bytes) -> None:
    """Parse JSON without surrogates and escaped backslashes, of any depth."""
    try:
        _decode(text)
    except RecursionError:
        _parse_nested(text)


def _decode(text: bytes) -> None:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as ex:
        raise BodyMismatch from ex


def _without_surrogates(text: bytes) -> bytes:
    """Replace each escaped backslash, then each escape that can be a surrogate; neither changes whether JSON is valid."""
    return text.replace(rb"\\", b"__").replace(rb"\ud", rb"\u0").replace(rb"\uD", rb"\u0")


def _parse_nested(text: bytes) -> None:
    """Parse JSON without recursion; the docstring of the module says how."""
    inside, outside = _strings_apart(text.replace(rb"\"", b"__"))
    _decode(inside)
    _decode(_flat(outside))
    if not _match(_brackets(outside)):
        raise BodyMismatch


def _strings_apart(text: bytes) -> tuple[bytes, bytes]:
    """Return the contents of all strings as one string, and the text with empty strings."""
    if text.count(b'"') % 2:
        raise BodyMismatch
    inside, outside = bytearray(b'"'), bytearray()
    for block in BLOCKS.finditer(text):
        pieces = block[0].split(b'"')
        inside += b" ".join(pieces[1::2]) + b" "
        outside += b'""'.join(pieces[::2])
    return bytes(inside + b'"'), bytes(outside)


def _flat(text: bytes) -> bytes:
    """Make an array of flat arrays, one for what is between two brackets; an empty string stands for a nested value."""
    text = text.translate(FLATTEN).replace(OPENING + CLOSING, b'""')
    for run in (4, 2):
        text = text.replace(OPENING * run, OPENING).replace(CLOSING * run, CLOSING)
    return (b"[[%b]]" % text).replace(OPENING, b'""],[').replace(CLOSING, b'],[""')


def _brackets(text: bytes) -> bytes:
    """Return the brackets, with () for {}; a brace without a key and a colon without its key stay, and match nothing."""
    text = text.translate(None, JSON_SPACE).replace(b"{}", b"").replace(b'{"":', b"(").replace(b"}", b")")
    return text.replace(b',"":', b")(").replace(b",", b"][").translate(None, NO_BRACKETS)


def _match(brackets: bytes) -> bool:
    """Check that all brackets close, each after its partner."""
    opened = bytearray()
    for opening, closing in _runs(brackets):
        opened += opening
        depth = len(opened) - len(closing)
        if opened[depth:] != closing[::-1].translate(PARTNERS):
            return False
        del opened[depth:]
    return not opened


def _runs(brackets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return each run of brackets that open, together with the run of brackets that close after it."""
    for start in range(0, len(brackets), RUNS_STEP):
        yield from RUNS.findall(_without_pairs(brackets[start : start + RUNS_STEP]))


def _without_pairs(brackets: bytes) -> bytes:
    """Remove the innermost pairs until one round removes less than a sixteenth: then the runs are few and long."""
    while True:
        length = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"()", b"")
        if len(brackets) >= length * 15 // 16:
            return brackets
