"""The supported content types of images and objects, and a check that the bytes of an object match its type.

The check works on chunks. It holds only JSON of up to 16 MiB in memory:

- Text and JSON must be UTF-8. For text, `charset` may name another encoding.
- JSON up to 16 MiB must parse. The check of larger JSON covers only its first and last character.
- A PDF must have its signature in its first 1,024 bytes, as PDF readers expect.
- A ZIP must begin with a signature.

JSON must follow the grammar of RFC 8259. The parser, msgspec, is stricter in two cases. It refuses an unpaired surrogate escape:
after an error, the text is parsed again with other escapes of the same length. It refuses nesting of more than about a thousand
brackets: such JSON is checked like JSON of more than 16 MiB.
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
SIGNATURE_SEARCH_BYTES = 1023 + len(b"%PDF-")
UTF8_CHARSETS = ("", "utf-8", "utf8", "us-ascii", "ascii")


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def validate_body(content_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a body unchanged. Raise BodyMismatch as soon as they do not match the content type."""
    base_type = media_type(content_type)
    body = iter(chunks)
    if base_type in SIGNATURES:
        return _check_signature(body, SIGNATURES[base_type])
    if base_type == "application/json":
        return _check_json(_check_utf8(body))
    return _check_utf8(body) if _charset(content_type) in UTF8_CHARSETS else body


def _charset(content_type: str) -> str:
    for parameter in content_type.lower().split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return value.strip().strip('"')
    return ""


def _check_signature(chunks: Iterator[bytes], signature: re.Pattern[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= SIGNATURE_SEARCH_BYTES or signature.match(start):
            break
    if not signature.match(start):
        raise BodyMismatch
    yield start
    yield from chunks


def _check_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
            yield chunk
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as ex:
        raise BodyMismatch from ex


def _check_json(chunks: Iterator[bytes]) -> Iterator[bytes]:
    text: bytearray | None = bytearray()
    end = b""
    for chunk in chunks:
        end = chunk.rstrip(JSON_SPACE)[-1:] or end
        if text is not None:
            text += chunk
            if len(text) > PARSED_JSON:
                if not _without_bom(bytes(text)).lstrip(JSON_SPACE).startswith(JSON_STARTS):
                    raise BodyMismatch
                text = None
        yield chunk
    if not (text and _can_parse(_without_bom(bytes(text)))) and end not in JSON_ENDS:
        raise BodyMismatch


def _without_bom(text: bytes) -> bytes:
    return text.removeprefix(codecs.BOM_UTF8)


def _can_parse(text: bytes) -> bool:
    """Parse JSON. Raise BodyMismatch if it is invalid; return False if it is nested too deep for the parser."""
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
    """Replace escaped backslashes, then escapes of surrogates. This does not change whether the JSON is valid."""
    return text.replace(rb"\\", b"__").replace(rb"\ud", rb"\u0").replace(rb"\uD", rb"\u0")
