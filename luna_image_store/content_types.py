"""The types that pictures and objects may have, and whether an object's bytes are what its type says.

The check looks as closely as it can with flat memory: text and JSON must be UTF-8 throughout (a text may name another
charset), JSON up to 16 MiB must parse, larger JSON must begin and end as JSON does. A PDF has its signature in its first
1,024 bytes, as PDF readers look for it there; a ZIP begins with a signature.

JSON is what the grammar of RFC 8259 allows. msgspec parses it, but refuses two things that the grammar allows. An escape that is
half of a surrogate pair: after a refusal the text is parsed once more, with another escape of the same length in place of each
surrogate. Nesting of more than about a thousand brackets: such JSON is looked at like one of more than 16 MiB.
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


def media_type(content_type: str) -> str:
    """Strip the parameters from a content type."""
    return content_type.partition(";")[0].strip().lower()


def validate_body(content_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass a body through; raise BodyMismatch as soon as it is not what its type says, at its end at the latest."""
    kind = media_type(content_type)
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
    if not (whole and _is_parsed(_without_mark(bytes(whole)))) and end not in JSON_ENDS:
        raise BodyMismatch


def _without_mark(text: bytes) -> bytes:
    return text.removeprefix(codecs.BOM_UTF8)


def _is_parsed(text: bytes) -> bool:
    """Parse JSON without building anything from it; return False where it is nested too deep for that."""
    try:
        try:
            _decode(text)
        except BodyMismatch:
            _decode(_without_surrogates(text))
    except RecursionError:
        return False
    return True


def _decode(text: bytes) -> None:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as ex:
        raise BodyMismatch from ex


def _without_surrogates(text: bytes) -> bytes:
    """Replace each escaped backslash, then each escape that can be a surrogate; neither changes whether JSON is valid."""
    return text.replace(rb"\\", b"__").replace(rb"\ud", rb"\u0").replace(rb"\uD", rb"\u0")
