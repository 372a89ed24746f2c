"""Functions that read request bodies. They limit the size and refuse incomplete bodies."""

from collections.abc import Iterator

import falcon

from luna_image_store.errors import BodyEmpty, InvalidRequest, PayloadTooLarge
from luna_image_store.storage.base import CHUNK_SIZE


def read(req: falcon.Request, limit: int) -> bytes:
    """Return the body. Raise the same errors as `chunks`."""
    return b"".join(chunks(req, limit))


def chunks(req: falcon.Request, limit: int) -> Iterator[bytes]:
    """Yield the body in chunks. Raise BodyEmpty, PayloadTooLarge, or InvalidRequest if the body is incomplete."""
    content_length = req.content_length
    if content_length is not None and content_length > limit:
        raise PayloadTooLarge(limit)
    received = 0
    while chunk := _read_chunk(req):
        received += len(chunk)
        if received > limit:
            raise PayloadTooLarge(limit)
        yield chunk
    if content_length is not None and received < content_length:
        raise InvalidRequest(f"the body has {received} bytes, Content-Length says {content_length}")
    if not received:
        raise BodyEmpty


def _read_chunk(req: falcon.Request) -> bytes:
    """Read the next chunk. The server raises its own exceptions for invalid chunks, a timeout and a closed connection."""
    try:
        return bytes(req.bounded_stream.read(CHUNK_SIZE) if req.content_length is not None else req.stream.read(CHUNK_SIZE))
    except BlockingIOError as ex:
        raise InvalidRequest("client timeout: the rest of the body did not come") from ex
    except MemoryError:
        raise
    except Exception as ex:
        raise InvalidRequest(f"cannot read the body: {ex or type(ex).__name__}") from ex
