"""Which part of a content a client asks for."""

import re

import falcon

from luna_image_store.services import StoredContent

SINGLE_RANGE = re.compile("(?i:bytes)=(?=[0-9]|-[0-9])([0-9]{0,18})-([0-9]{0,18})")


def requested_range(req: falcon.Request, content: StoredContent) -> range | None:
    """Return the bytes that Range asks for, or raise 416 where there are none.

    None stands for the whole: for HEAD, without Range, where it names several ranges or is malformed, and where If-Range does not
    hold.
    """
    wanted = SINGLE_RANGE.fullmatch(req.get_header("Range") or "")
    if wanted is None or req.method == "HEAD" or not _range_applies(req, content):
        return None
    first, last = wanted.groups()
    length = content.payload.length
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, length - int(last))
    stop = min(int(last) + 1, length) if first and last else length
    if start >= length:
        raise falcon.HTTPRangeNotSatisfiable(length)
    return range(start, stop)


def _range_applies(req: falcon.Request, content: StoredContent) -> bool:
    """Follow If-Range: a part is only sent of the content that the client knows."""
    condition = req.get_header("If-Range")
    return condition in (None, f'"{content.etag}"', falcon.dt_to_http(content.modified))
