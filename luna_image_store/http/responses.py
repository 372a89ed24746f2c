"""Sending stored content: its headers, conditional requests, ranges."""

import errno
import re
from collections.abc import Iterator

import falcon

from luna_image_store.errors import NotAcceptable, ServiceError
from luna_image_store.services import Content
from luna_image_store.storage.base import PayloadFile

BLOCK = 256 * 1024

CONSTANT_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}

SINGLE_RANGE = re.compile("(?i:bytes)=(?=[0-9]|-[0-9])([0-9]{0,18})-([0-9]{0,18})")


def send(req: falcon.Request, resp: falcon.Response, content: Content, with_meta: bool = False) -> None:
    """Answer GET or HEAD with a content: 200, 206 for a range, or 304 where the client has it."""
    is_unchanged = _is_unchanged(req, content)
    part = None if is_unchanged else _cut(req, content)  # first: an error has no headers of the content
    resp.set_headers(CONSTANT_HEADERS)
    resp.etag = content.etag
    resp.last_modified = content.modified
    if with_meta:
        resp.set_headers({f"X-Luna-Meta-{key}": value for key, value in content.meta.items()})
    if is_unchanged:
        resp.status = falcon.HTTP_304
        drop(content)
        return
    if content.filename:
        resp.set_header("Content-Disposition", f'attachment; filename="{content.filename}"')
    resp.content_type = content.content_type
    _send_payload(resp, content, part)


def _send_payload(resp: falcon.Response, content: Content, part: tuple[int, int] | None) -> None:
    if content.payload is None:
        resp.content_length = content.length
        return
    start, length = part or (0, content.length)
    if part:
        resp.status = falcon.HTTP_206
        resp.content_range = (start, start + length - 1, content.length)
    if isinstance(content.payload, bytes):
        resp.data = content.payload[start : start + length]
    else:
        if hasattr(content.payload, "fileno"):  # the server sends it without reading it
            resp.set_stream(content.payload, length)
        else:
            resp.stream, resp.content_length = Blocks(content.payload), length


class Blocks:
    """A payload as the server iterates over it. One that breaks off breaks the connection: the client must see it as cut short."""

    def __init__(self, payload: PayloadFile) -> None:
        self._payload = payload
        self.close = payload.close

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from iter(lambda: self._payload.read(BLOCK), b"")
        except ServiceError as ex:  # it has been logged; servers close quietly where the connection is reset
            raise ConnectionResetError(errno.ECONNRESET, str(ex)) from ex


def negotiate(req: falcon.Request, types: tuple[str, ...]) -> str:
    """Choose the type that Accept likes best, the first one where it has no preference, or raise NotAcceptable."""
    accepted = req.accept.lower()
    try:
        chosen = types[0] if accepted == "*/*" else falcon.mediatypes.best_match(types, accepted)
    except ValueError:
        chosen = ""
    if not chosen:
        raise NotAcceptable(", ".join(types))
    return chosen


def drop(content: Content) -> None:
    """Give back a content that is not sent."""
    if content.payload is not None and not isinstance(content.payload, bytes):
        content.payload.close()


def _is_unchanged(req: falcon.Request, content: Content) -> bool:
    tags = req.get_header("If-None-Match")
    if tags is not None:
        return tags.strip() == "*" or content.etag in (req.if_none_match or ())
    try:
        since = req.if_modified_since
    except falcon.HTTPInvalidHeader:
        return False
    return since is not None and content.modified <= since


def _cut(req: falcon.Request, content: Content) -> tuple[int, int] | None:
    """Find the part that is wanted, and narrow a large payload to it."""
    if content.payload is None:
        return None
    part = _range(req, content)
    if not isinstance(content.payload, bytes):
        content.payload.cut(*(part or (0, content.length)))
    return part


def _range(req: falcon.Request, content: Content) -> tuple[int, int] | None:
    """Find start and length of the part that is wanted; None for the whole: also where several are, or the header is odd."""
    wanted = SINGLE_RANGE.fullmatch(req.get_header("Range") or "")
    if wanted is None or not _range_applies(req, content):
        return None
    first, last = wanted.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, content.length - int(last))
    end = min(int(last) + 1, content.length) if first and last else content.length
    if start >= content.length:
        drop(content)
        raise falcon.HTTPRangeNotSatisfiable(content.length)
    return start, end - start


def _range_applies(req: falcon.Request, content: Content) -> bool:
    """Heed If-Range: a part is only sent of the content that the client knows."""
    condition = req.get_header("If-Range")
    return condition in (None, f'"{content.etag}"', falcon.dt_to_http(content.modified))
