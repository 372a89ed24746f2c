"""Middleware for each request: request id, check of the method, log line."""

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
    """Return the HTTP methods of a resource."""
    return tuple(method for method in METHODS if hasattr(resource, f"on_{method.lower()}"))


allowed_methods_of = cache(allowed_methods)


class RequestContext:
    """Sets the request id, refuses unsupported methods, and logs one line per request."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Use the request id of the client, or create one. The check of the headers refuses a malformed id later."""
        received = req.get_header(REQUEST_ID_HEADER)
        current = received if received and is_request_id(received) else new_request_id()
        request_id.set(current)
        resp.set_header(REQUEST_ID_HEADER, current)
        req.context.started = time.perf_counter()

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: Hashable, params: dict[str, object]) -> None:
        """Refuse unsupported methods, also OPTIONS, and paths with a line break. Falcon would accept both."""
        if not req.path.isprintable() or "" in params.values():
            raise PageNotFound
        allowed = allowed_methods_of(resource)
        if req.method not in allowed:
            raise MethodNotAllowed(allowed)

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        """Log the request."""
        if resp.get_header(REQUEST_ID_HEADER) is None:  # Falcon refused the request before `process_request`
            self.process_request(req, resp)
        seconds = time.perf_counter() - req.context.started
        route, status, length = req.uri_template or "-", resp.status_code, body_length(req, resp)
        logger.info(
            "%s %s %d %d bytes %.6f s",
            *(req.method, route, status, length, seconds),
            extra={"method": req.method, "route": route, "status": status, "bytes": length, "seconds": round(seconds, 6)},
        )


def body_length(req: falcon.Request, resp: falcon.Response) -> int:
    """Return the length of the response body in bytes. This renders a JSON body; Falcon does not render it again."""
    if req.method == "HEAD":
        return 0
    if (content_length := resp.content_length) is not None:
        return int(content_length)
    return len(resp.render_body() or b"")
