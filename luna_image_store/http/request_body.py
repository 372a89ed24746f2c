"""Reading request bodies: within a limit, whole, and never half."""

from collections.abc import Iterator

import falcon

from luna_image_store.errors import BodyEmpty, InvalidRequest, PayloadTooLarge

CHUNK = 256 * 1024
LARGE_CHUNK = 2**20


def read(req: falcon.Request, limit: int) -> bytes:
    """Read a body into memory."""
    return b"".join(chunks(req, limit, min(req.content_length or CHUNK, LARGE_CHUNK)))


def chunks(req: falcon.Request, limit: int, step: int = CHUNK) -> Iterator[bytes]:
    """Read a body piece by piece; raise BodyEmpty, PayloadTooLarge, or InvalidRequest when it breaks off."""
    announced = req.content_length
    if announced is not None and announced > limit:
        raise PayloadTooLarge(limit)
    received = 0
    while chunk := _next(req, step):
        received += len(chunk)
        if received > limit:
            raise PayloadTooLarge(limit)
        yield chunk
    if announced is not None and received < announced:
        raise InvalidRequest(f"the body has {received} bytes, Content-Length announces {announced}")
    if not received:
        raise BodyEmpty


def _next(req: falcon.Request, step: int) -> bytes:
    """Read the next piece. The server raises errors of its own for broken chunks, silence and a closed connection."""
    try:
        return bytes(req.bounded_stream.read(step) if req.content_length is not None else req.stream.read(step))
    except Exception as ex:
        raise InvalidRequest(f"the body can't be read: {ex or type(ex).__name__}") from ex
