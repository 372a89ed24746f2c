"""What happens around every request: its id, the methods of its path, its line in the log."""

import logging
import re
import time
from collections.abc import Hashable
from functools import cache

import falcon

from luna_image_store.errors import MethodNotAllowed, PageNotFound
from luna_image_store.http.schemas import REQUEST_ID
from luna_image_store.logs import REQUEST_ID_HEADER, new_request_id, request_id

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")

is_request_id = re.compile(REQUEST_ID).fullmatch
logger = logging.getLogger("luna_image_store.requests")


def allowed_methods(resource: object) -> tuple[str, ...]:
    """List the methods that a resource has."""
    return tuple(method for method in METHODS if hasattr(resource, f"on_{method.lower()}"))


allowed_methods_of = cache(allowed_methods)


class RequestContext:
    """Gives each request an id, refuses methods that its resource lacks, and logs one line when it is done."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the client's request id, or make one; a malformed one is refused later, with the other headers."""
        given = req.get_header(REQUEST_ID_HEADER)
        current = given if given and is_request_id(given) else new_request_id()
        request_id.set(current)
        resp.set_header(REQUEST_ID_HEADER, current)
        req.context.started = time.perf_counter()

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: Hashable, params: dict[str, object]) -> None:
        """Refuse OPTIONS, which the framework would answer, methods it does not know, and a line break it would overlook."""
        if not req.path.isprintable() or "" in params.values():
            raise PageNotFound
        allowed = allowed_methods_of(resource)
        if req.method not in allowed:
            raise MethodNotAllowed(allowed)

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        """Log the request."""
        if resp.get_header(REQUEST_ID_HEADER) is None:  # the framework refused it before it came here
            self.process_request(req, resp)
        seconds = time.perf_counter() - req.context.started
        route, status, length = req.uri_template or "-", resp.status_code, body_length(req, resp)
        logger.info(
            "%s %s %d %d bytes %.6f s",
            *(req.method, route, status, length, seconds),
            extra={"method": req.method, "route": route, "status": status, "bytes": length, "seconds": round(seconds, 6)},
        )


def body_length(req: falcon.Request, resp: falcon.Response) -> int:
    """Count the bytes of the body; JSON that is still to be rendered is rendered now, once."""
    if req.method == "HEAD":
        return 0
    if (announced := resp.content_length) is not None:
        return int(announced)
    return len(resp.render_body() or b"")
