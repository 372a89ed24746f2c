"""The types that pictures and objects may have, and whether an object's bytes are what its type says.

The check looks as closely as it can with flat memory: text and JSON must be UTF-8 throughout (a text may name another
charset), JSON up to 16 MiB must parse, larger JSON must begin and end as JSON does; PDF and ZIP are known by how they begin.
"""

import codecs
from collections.abc import Iterable, Iterator

import msgspec

from luna_image_store.errors import BodyMismatch

IMAGE_TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff", "image/gif", "image/x-portable-pixmap")
OBJECT_ENDINGS = {"application/json": "json", "application/pdf": "pdf", "application/zip": "zip", "text/plain": "txt"}
PARSED_JSON = 16 * 2**20
JSON_SPACE = b" \t\r\n"
JSON_STARTS = tuple(bytes([start]) for start in b'{["-0123456789tfn')
JSON_ENDS = tuple(bytes([end]) for end in b'}]"0123456789el')
SIGNATURES = {"application/pdf": (b"%PDF-",), "application/zip": (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")}
UTF8_CHARSETS = ("", "utf-8", "utf8", "us-ascii", "ascii")


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


def _signed(chunks: Iterator[bytes], signatures: tuple[bytes, ...]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= max(map(len, signatures)):
            break
    if not start.startswith(signatures):
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
                if not _without_mark(whole).lstrip(JSON_SPACE).startswith(JSON_STARTS):
                    raise BodyMismatch
                whole = None
        yield chunk
    if whole is not None:
        _parse(_without_mark(whole))
    elif end not in JSON_ENDS:
        raise BodyMismatch


def _without_mark(text: bytearray) -> bytearray:
    return text.removeprefix(codecs.BOM_UTF8)


def _parse(text: bytearray) -> None:
    """Parse JSON without building anything from it."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as ex:
        raise BodyMismatch from ex
