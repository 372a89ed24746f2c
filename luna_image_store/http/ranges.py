"""Range requests."""

import re

import falcon

from luna_image_store.services import StoredContent

SINGLE_RANGE = re.compile("(?i:bytes)=(?=[0-9]|-[0-9])([0-9]{0,18})-([0-9]{0,18})")


def requested_range(req: falcon.Request, content: StoredContent) -> range | None:
    """Return the byte range of the Range header. Raise HTTPRangeNotSatisfiable if the payload has none of these bytes.

    Return None for the complete payload: for HEAD, without Range, for several ranges, for a malformed Range, and if If-Range
    does not match.
    """
    match = SINGLE_RANGE.fullmatch(req.get_header("Range") or "")
    if match is None or req.method == "HEAD" or not _range_applies(req, content):
        return None
    first, last = match.groups()
    length = content.payload.length
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, length - int(last))
    stop = min(int(last) + 1, length) if first and last else length
    if start >= length:
        raise falcon.HTTPRangeNotSatisfiable(length)
    return range(start, stop)


def _range_applies(req: falcon.Request, content: StoredContent) -> bool:
    """Evaluate If-Range: return whether the client has the same version of the content."""
    condition = req.get_header("If-Range")
    return condition in (None, f'"{content.etag}"', falcon.dt_to_http(content.modified))
