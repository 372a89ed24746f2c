"""The OpenAPI document, generated from the routes and their schemas."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from inspect import cleandoc
from itertools import groupby
from typing import Any

import yaml
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from luna_image_store import __version__, errors
from luna_image_store.http import schemas
from luna_image_store.http.bodies import Binary, Body, Example, Json, NoBody
from luna_image_store.http.middleware import allowed_methods
from luna_image_store.http.operation import Operation
from luna_image_store.http.resources.base import Resource
from luna_image_store.storage.base import ID

INTRODUCTION = """\
The service stores images and objects in buckets, on a local disk or on S3. Buckets are independent: the
same id in two buckets names two records.

The service stores each image as a JPEG with previews. It stores objects (JSON, PDF, ZIP, plain text) unchanged.

A client stores a record with POST, and the service creates its id. With PUT, the client chooses the id. GET, HEAD and DELETE use
this id. A DELETE with a list of ids deletes up to 1000 records.
"""
COMMON = (errors.InvalidRequest, errors.InternalError)
STORAGE = (errors.StorageUnavailable, errors.StorageTimeout)
WITHOUT_STORAGE = ("version", "documents", "config", "health")
BINARY = {"type": "string", "format": "binary"}


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


REQUEST_ID_HEADERS = {"Luna-Request-Id": _header("Id of the request, from the client or created by the service.", schemas.REQUEST)}
STATUS_HEADERS = {
    206: {"Content-Range": _header("First and last byte of the part, and length of the payload.", "bytes 0-99/23880")},
    416: {"Content-Range": _header("Length of the payload in bytes.", "bytes */23880")},
    302: {"Location": _header("Path of the first page of the manual.", "/docs/dev/index.html")},
    503: {"Retry-After": _header("Seconds to wait before the next attempt.", str(errors.StorageUnavailable.retry_after))},
}
CREATED_LOCATIONS: Mapping[type[Schema], str] = {
    schemas.Empty: f"/1/buckets/{schemas.BUCKET}",
    schemas.ImageCreated: schemas.IMAGE_URL,
    schemas.ObjectUrl: schemas.OBJECT_URL,
}
CONTENT_HEADERS = {
    "ETag": _header("Digest of the payload (a strong ETag).", '"881d0a32c9234862b6d8bfc9da8d4875"'),
    "Last-Modified": _header("Time at which the record was stored.", "Mon, 23 Nov 2026 18:16:58 GMT"),
    "Cache-Control": _header("A client may cache the response, but must revalidate it before each use.", "private, no-cache"),
    "Accept-Ranges": _header("The service supports byte ranges.", "bytes"),
    "X-Content-Type-Options": _header("Browsers must not guess the content type.", "nosniff"),
    "Content-Security-Policy": _header("Browsers must not execute the content.", "default-src 'none'; sandbox"),
}
OBJECT_HEADERS = {
    "Content-Disposition": _header("Browsers must save the object as a file.", f'attachment; filename="{schemas.OBJECT}.json"')
}
META_HEADERS = {"X-Luna-Meta-*": _header("Only with `with_meta=1`: metadata of the image, one header per key.", "entrance 4")}
CONDITIONAL_HEADERS = {  # by the status that they can cause
    206: {
        "Range": _header("One byte range. For several ranges, the service sends the complete payload.", "bytes=0-99"),
        "If-Range": _header(
            "ETag or date. If the payload has another version, the service sends the complete payload.",
            CONTENT_HEADERS["ETag"]["example"],
        ),
    },
    304: {
        "If-None-Match": _header(
            "ETags of the versions that the client has. The service sends other versions only.", CONTENT_HEADERS["ETag"]["example"]
        ),
        "If-Modified-Since": _header(
            "Last-Modified of the version that the client has. The service sends later versions only.",
            CONTENT_HEADERS["Last-Modified"]["example"],
        ),
    },
}
EXAMPLES: Mapping[type[errors.ServiceError], tuple[object, ...]] = {
    errors.FieldMissing: ("images",),
    errors.BadQuery: ("account_id",),
    errors.ParameterMissing: ("bucket",),
    errors.JsonInvalid: ("images.3", f"Must match {ID}."),
    errors.NotAcceptable: ("application/json, text/plain",),
    errors.InvalidRequest: ("bad header Luna-Request-Id",),
    errors.ImageNotFound: (schemas.IMAGE,),
    errors.BucketExists: (schemas.BUCKET,),
    errors.ObjectNotFound: (schemas.OBJECT,),
    errors.BucketNotFound: (schemas.BUCKET,),
    errors.TooManyIds: (1001,),
    errors.PayloadTooLarge: (2**26,),
    errors.OwnerMismatch: (schemas.IMAGE,),
    errors.StorageUnavailable: ("read",),
    errors.StorageTimeout: ("read",),
    errors.StorageFull: ("save",),
    errors.TooManyPixels: (80_000_000, 75_000_000),
    errors.RecordDamaged: (schemas.IMAGE,),
    errors.NotReady: ("the service is draining",),
}


class PlainDumper(yaml.SafeDumper):
    """A YAML dumper without aliases, because some OpenAPI tools do not support them."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True for all values."""
        return True


def document(routes: Mapping[str, type[Resource]]) -> APISpec:
    """Create the document from the routes: path templates and their resources."""
    plugins = (MarshmallowPlugin(schema_name_resolver=_schema_name),)
    spec = APISpec("luna-image-store", __version__, "3.0.3", plugins, info={"description": INTRODUCTION})
    for tag in dict.fromkeys(resource.tag for resource in routes.values()):
        spec.tag({"name": tag})
    for path, resource in routes.items():
        spec.path(path, operations={method.lower(): _operation(resource, method) for method in allowed_methods(resource)})
    return spec


def to_yaml(routes: Mapping[str, type[Resource]]) -> str:
    """Return the document as YAML."""
    return str(yaml.dump(document(routes).to_dict(), Dumper=PlainDumper, sort_keys=False, allow_unicode=True))


def _operation(resource: type[Resource], method: str) -> dict[str, Any]:
    responder = getattr(resource, f"on_{method.lower()}")
    declared: Operation = responder.operation
    summary, _, description = cleandoc(responder.__doc__).partition("\n\n")
    responses = {status: _response(status, response, declared) for status, response in declared.responses.items()}
    error_responses = _error_responses(_errors(resource, declared))
    if method == "HEAD":
        for response in error_responses.values():
            del response["content"]
    body = _request_body(declared)
    return {
        "tags": [resource.tag],
        "operationId": f"{method.lower()}{resource.__name__}",
        "summary": summary.removesuffix("."),
        "description": description,
        "parameters": list(_parameters(declared)),
        **({"requestBody": body} if body else {}),
        "responses": {**responses, **error_responses},
    }


def _parameters(declared: Operation) -> Iterator[dict[str, Any]]:
    for place, schema in (("path", declared.path), ("query", declared.query), ("header", declared.headers)):
        if schema is not None:
            yield {"in": place, "schema": schema}
    for status, headers in CONDITIONAL_HEADERS.items():
        if status in declared.responses:
            yield from ({"in": "header", "name": name, **header} for name, header in headers.items())


def _request_body(declared: Operation) -> dict[str, Any] | None:
    if declared.json:
        return {"required": True, "content": {"application/json": {"schema": declared.json}}}
    content = _content(declared.body)
    return {"required": True, "content": content} if content else None


def _response(status: int, response: Body, declared: Operation | None = None) -> dict[str, Any]:
    headers = {**REQUEST_ID_HEADERS, **STATUS_HEADERS.get(status, {})}
    if status == HTTPStatus.CREATED and isinstance(response, Json):
        headers["Location"] = _header("Path of the new bucket, image or object.", CREATED_LOCATIONS[response.schema])
    if isinstance(response, Binary) and declared:
        has_meta = declared.query and "with_meta" in declared.query.fields
        is_object = isinstance(declared.path, schemas.ObjectPath)
        headers |= CONTENT_HEADERS | (META_HEADERS if has_meta else {}) | (OBJECT_HEADERS if is_object else {})
    described = {"description": HTTPStatus(status).phrase, "headers": headers}
    return {**described, "content": content} if (content := _content(response)) else described


def _content(body: Body) -> dict[str, Any] | None:
    """Return the content of a body by media type."""
    match body:
        case NoBody():
            return None
        case Json(schema=schema):
            return {"application/json": {"schema": schema}}
        case Binary(types=types):
            return {kind: {"schema": BINARY} for kind in types}
        case Example(values=values):
            return {
                kind: {"schema": _schema_of(example), "example": example} if example else {"schema": BINARY}
                for kind, example in values.items()
            }


def _schema_of(example: object) -> dict[str, Any]:
    match example:
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array", "items": _schema_of(example[0])}
        case _:
            return {"type": "object"}


def _errors(resource: type[Resource], declared: Operation) -> list[type[errors.ServiceError]]:
    kinds = [*declared.errors, *COMMON]
    if declared.path:
        kinds.append(errors.PageNotFound)
    if declared.query:
        kinds.append(errors.BadQuery)
        if any(field.required for field in declared.query.fields.values()):
            kinds.append(errors.ParameterMissing)
    if resource.tag not in WITHOUT_STORAGE:
        kinds.extend(STORAGE)
    return sorted(kinds, key=lambda error: (error.spec.status, error.spec.code))


def _error_responses(kinds: list[type[errors.ServiceError]]) -> dict[int, Any]:
    """Return the error responses by status, with an example for each error code."""
    responses = {}
    for status, group in groupby(kinds, key=lambda error: error.spec.status):
        rows = {str(error.spec.code): error for error in group}
        described = _response(status, Json(schemas.Error))
        described["description"] = " ".join(f"{code}: {cleandoc(error.__doc__ or '')}" for code, error in rows.items())
        described["content"]["application/json"]["examples"] = {
            code: {"value": error(*EXAMPLES.get(error, ())).body()} for code, error in rows.items()
        }
        responses[status] = described
    return responses


def _schema_name(schema: type[Schema] | Schema | str) -> str:
    """Return the name of a schema: the name of its class."""
    return schema if isinstance(schema, str) else (schema if isinstance(schema, type) else type(schema)).__name__
