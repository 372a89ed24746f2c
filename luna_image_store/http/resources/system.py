"""Resources for the version, the settings and the documents of the service."""

from importlib.resources import files
from pathlib import Path

import falcon
from falcon.routing import StaticRoute

from luna_image_store import __version__
from luna_image_store.errors import ManualMissing, NotAcceptable
from luna_image_store.http import schemas
from luna_image_store.http.bodies import Example, Json, NoBody
from luna_image_store.http.operation import operation
from luna_image_store.http.resources.base import Resource
from luna_image_store.http.responses import negotiate
from luna_image_store.settings import masked

API_VERSION = 1
MAJOR, MINOR, PATCH = (int(part) for part in __version__.split("."))
MANUAL = Path(str(files("luna_image_store") / "manual"))
STATIC = Path(str(files("luna_image_store") / "static"))
PAGE_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
YAML, HTML, JSON, TEXT = "application/x-yaml", "text/html", "application/json", "text/plain"
EXAMPLES = {JSON: {"OBJECTS": {"MAX_SIZE": 1073741824}}, TEXT: "OBJECTS.MAX_SIZE = 1073741824"}


class Version(Resource):
    """The version."""

    tag = "version"

    @operation(responses={200: Json(schemas.VersionAnswer)})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the version.

        `api` is the version of the interface, as in the paths.
        """
        resp.media = {"Version": {"api": API_VERSION, "major": MAJOR, "minor": MINOR, "patch": PATCH}}


class Config(Resource):
    """The effective settings."""

    tag = "config"

    @operation(headers=schemas.AcceptConfig, responses={200: Example(EXAMPLES)}, errors=(NotAcceptable,))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the settings of the service.

        Secret values are replaced by `***`.
        """
        settings = masked(self._services.settings)
        resp.content_type = negotiate(req, (JSON, TEXT))
        if resp.content_type == JSON:
            resp.media = settings
        else:
            resp.text = "".join(
                f"{section}.{key} = {value}\n" for section, values in settings.items() for key, value in values.items()
            )


class Spec(Resource):
    """The OpenAPI document."""

    tag = "documents"

    @operation(
        headers=schemas.AcceptSpec,
        responses={200: Example({YAML: "openapi: 3.0.3", HTML: "<!doctype html>"})},
        errors=(NotAcceptable,),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the OpenAPI document.

        The document is YAML. With `Accept: text/html` it is an HTML page, which needs no internet access.
        """
        resp.content_type = negotiate(req, (YAML, HTML))
        if resp.content_type == YAML:
            resp.text = self._services.openapi()
        else:
            resp.set_header("Content-Security-Policy", PAGE_POLICY)
            resp.data = (STATIC / "spec.html").read_bytes()


class Manual(Resource):
    """The development manual."""

    tag = "documents"

    @operation(responses={302: NoBody()}, errors=(ManualMissing,))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the development manual.

        The service redirects to `/docs/dev/index.html`.
        """
        if not (self._services.manual / "index.html").is_file():
            raise ManualMissing
        raise falcon.HTTPFound("/docs/dev/index.html")


class DocumentFile(Resource):
    """The files of a document."""

    tag = "documents"

    def __init__(self, prefix: str, directory: Path) -> None:
        self._serve = StaticRoute(prefix, str(directory))

    @operation(responses={200: Example({HTML: None})})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get a file of a document."""
        self._serve(req, resp)

    on_head = on_get
