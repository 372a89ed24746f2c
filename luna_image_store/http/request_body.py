"""Reading request bodies: within a limit, whole, and never half."""

from collections.abc import Iterator

import falcon

from luna_image_store.errors import BodyEmpty, InvalidRequest, PayloadTooLarge
from luna_image_store.storage.base import CHUNK_SIZE


def read(req: falcon.Request, limit: int) -> bytes:
    """Read a body into memory."""
    return b"".join(chunks(req, limit))


def chunks(req: falcon.Request, limit: int) -> Iterator[bytes]:
    """Read a body piece by piece; raise BodyEmpty, PayloadTooLarge, or InvalidRequest when it breaks off."""
    announced = req.content_length
    if announced is not None and announced > limit:
        raise PayloadTooLarge(limit)
    received = 0
    while chunk := _next(req):
        received += len(chunk)
        if received > limit:
            raise PayloadTooLarge(limit)
        yield chunk
    if announced is not None and received < announced:
        raise InvalidRequest(f"the body has {received} bytes, Content-Length says {announced}")
    if not received:
        raise BodyEmpty


def _next(req: falcon.Request) -> bytes:
    """Read the next piece. The server raises errors of its own for broken chunks, silence and a closed connection."""
    try:
        return bytes(req.bounded_stream.read(CHUNK_SIZE) if req.content_length is not None else req.stream.read(CHUNK_SIZE))
    except BlockingIOError as ex:
        raise InvalidRequest("client timeout: the rest of the body did not come") from ex
    except MemoryError:
        raise
    except Exception as ex:
        raise InvalidRequest(f"cannot read the body: {ex or type(ex).__name__}") from ex
