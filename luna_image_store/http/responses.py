"""Responses with stored content: headers, conditional requests and ranges."""

import errno
from collections.abc import Iterator

import falcon

from luna_image_store.errors import NotAcceptable, ServiceError
from luna_image_store.http.ranges import requested_range
from luna_image_store.services import StoredContent
from luna_image_store.storage.base import Payload

CONSTANT_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


def send(req: falcon.Request, resp: falcon.Response, content: StoredContent, with_meta: bool = False) -> None:
    """Answer GET or HEAD with stored content: 200, 206 for a range, or 304 if the client has this version."""
    is_unchanged = _is_unchanged(req, content)
    total = content.payload.length
    part = None if is_unchanged else _set_range(req, content)  # before the headers: an error response must not have them
    resp.set_headers(CONSTANT_HEADERS)
    resp.etag = content.etag
    resp.last_modified = content.modified
    if with_meta:
        resp.set_headers({f"X-Luna-Meta-{key}": value for key, value in content.meta.items()})
    if is_unchanged:
        resp.status = falcon.HTTP_304
        content.payload.close()
        return
    if content.filename:
        resp.set_header("Content-Disposition", f'attachment; filename="{content.filename}"')
    resp.content_type = content.content_type
    if part:
        resp.status = falcon.HTTP_206
        resp.content_range = (part.start, part.stop - 1, total)
    _send_payload(req, resp, content.payload)


def _set_range(req: falcon.Request, content: StoredContent) -> range | None:
    """Limit the payload to the requested range. Return this range, or None for the complete payload."""
    try:
        if part := requested_range(req, content):
            content.payload.set_range(part.start, len(part))
    except Exception:
        content.payload.close()
        raise
    return part


def _send_payload(req: falcon.Request, resp: falcon.Response, payload: Payload) -> None:
    if req.method == "HEAD":
        resp.content_length = payload.length
        payload.close()
    elif payload.data is not None:
        resp.data = payload.data
    elif hasattr(payload, "fileno"):  # the server sends the file with sendfile
        resp.set_stream(payload, payload.length)
    else:
        resp.stream, resp.content_length = Chunks(payload), payload.length


class Chunks:
    """An iterator over a payload. On a read error it closes the connection, so that the client detects the incomplete body."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self.close = payload.close

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._payload.chunks()
        except ServiceError as ex:  # already logged; the server logs no error for a reset connection
            raise ConnectionResetError(errno.ECONNRESET, str(ex)) from ex


def negotiate(req: falcon.Request, types: tuple[str, ...]) -> str:
    """Return the type that Accept prefers, or the first type if there is no preference. Raise NotAcceptable if none matches."""
    accepted = req.accept.lower()
    try:
        chosen = types[0] if accepted == "*/*" else falcon.mediatypes.best_match(types, accepted)
    except ValueError:
        chosen = ""
    if not chosen:
        raise NotAcceptable(", ".join(types))
    return chosen


def _is_unchanged(req: falcon.Request, content: StoredContent) -> bool:
    tags = req.get_header("If-None-Match")
    if tags is not None:
        return tags.strip() == "*" or content.etag in (req.if_none_match or ())
    try:
        since = req.if_modified_since
    except falcon.HTTPInvalidHeader:
        return False
    return since is not None and content.modified <= since
