"""The OpenAPI document, made from the routes and the schemas that validate them."""

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
The service keeps pictures and objects in buckets, on a local disk or on S3. Buckets are disjoint namespaces.

Every picture becomes a JPEG with previews; objects (JSON, PDF, ZIP, plain text) are kept as they came. Both are stored by POST,
under an ID that the service makes, or by PUT, under one of yours; they are fetched, checked and deleted by ID, alone or up
to 1000 at once.
"""
COMMON = (errors.InvalidRequest, errors.InternalError)
STORAGE = (errors.StorageUnavailable, errors.StorageTimeout)
WITHOUT_STORAGE = ("version", "documents", "config", "health")
BINARY = {"type": "string", "format": "binary"}


def _header(text: str, example: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}, "example": example}


REQUEST_HEADERS = {"Luna-Request-Id": _header("ID of the request: the client's, or a new one.", schemas.REQUEST)}
STATUS_HEADERS = {
    206: {"Content-Range": _header("Which part it is.", "bytes 0-99/23880")},
    416: {"Content-Range": _header("How many bytes there are.", "bytes */23880")},
    302: {"Location": _header("Path of the first page.", "/docs/dev/index.html")},
    503: {"Retry-After": _header("Seconds after which to try again.", str(errors.StorageUnavailable.retry_after))},
}
MADE_AT: Mapping[type[Schema], str] = {
    schemas.Empty: f"/1/buckets/{schemas.BUCKET}",
    schemas.ImageCreated: schemas.IMAGE_URL,
    schemas.ObjectUrl: schemas.OBJECT_URL,
}
CONTENT_HEADERS = {
    "ETag": _header("Strong, from the content.", '"881d0a32c9234862b6d8bfc9da8d4875"'),
    "Last-Modified": _header("When it was stored.", "Mon, 23 Nov 2026 18:16:58 GMT"),
    "Cache-Control": _header("Keep it, but ask before using it again.", "private, no-cache"),
    "Accept-Ranges": _header("Ranges of bytes can be asked for.", "bytes"),
    "X-Content-Type-Options": _header("Browsers must not guess the type.", "nosniff"),
    "Content-Security-Policy": _header("Browsers must not run anything of it.", "default-src 'none'; sandbox"),
}
OBJECT_HEADERS = {"Content-Disposition": _header("Browsers must save it.", f'attachment; filename="{schemas.OBJECT}.json"')}
META_HEADERS = {"X-Luna-Meta-*": _header("With `with_meta=1`: user-defined metadata, a header per key.", "entrance 4")}
CONDITIONS = {  # by the status that they lead to
    206: {
        "Range": _header("One range of bytes; of several the whole is sent.", "bytes=0-99"),
        "If-Range": _header(
            "ETag or date: send the range of this version only, else the whole.", CONTENT_HEADERS["ETag"]["example"]
        ),
    },
    304: {
        "If-None-Match": _header("ETags of the versions that the client has.", CONTENT_HEADERS["ETag"]["example"]),
        "If-Modified-Since": _header("Date of the version that the client has.", CONTENT_HEADERS["Last-Modified"]["example"]),
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
    """Writes repeated parts out, since not every reader of OpenAPI follows YAML's aliases."""

    def ignore_aliases(self, data: object) -> bool:
        """Never make an alias."""
        return True


def document(routes: Mapping[str, type[Resource]]) -> APISpec:
    """Make the document from path templates and the resources behind them."""
    plugins = (MarshmallowPlugin(schema_name_resolver=_schema_name),)
    spec = APISpec("luna-image-store", __version__, "3.0.3", plugins, info={"description": INTRODUCTION})
    for tag in dict.fromkeys(resource.tag for resource in routes.values()):
        spec.tag({"name": tag})
    for path, resource in routes.items():
        spec.path(path, operations={method.lower(): _operation(resource, method) for method in allowed_methods(resource)})
    return spec


def to_yaml(routes: Mapping[str, type[Resource]]) -> str:
    """Write the document as YAML."""
    return str(yaml.dump(document(routes).to_dict(), Dumper=PlainDumper, sort_keys=False, allow_unicode=True))


def _operation(resource: type[Resource], method: str) -> dict[str, Any]:
    responder = getattr(resource, f"on_{method.lower()}")
    declared: Operation = responder.operation
    summary, _, description = cleandoc(responder.__doc__).partition("\n\n")
    answers = {status: _answer(status, answer, declared) for status, answer in declared.answers.items()}
    error_answers = _error_answers(_errors(resource, declared))
    if method == "HEAD":
        for answer in error_answers.values():
            del answer["content"]
    body = _request_body(declared)
    return {
        "tags": [resource.tag],
        "operationId": f"{method.lower()}{resource.__name__}",
        "summary": summary.removesuffix("."),
        "description": description,
        "parameters": list(_parameters(declared)),
        **({"requestBody": body} if body else {}),
        "responses": {**answers, **error_answers},
    }


def _parameters(declared: Operation) -> Iterator[dict[str, Any]]:
    for place, schema in (("path", declared.path), ("query", declared.query), ("header", declared.headers)):
        if schema is not None:
            yield {"in": place, "schema": schema}
    for status, headers in CONDITIONS.items():
        if status in declared.answers:
            yield from ({"in": "header", "name": name, **header} for name, header in headers.items())


def _request_body(declared: Operation) -> dict[str, Any] | None:
    if declared.json:
        return {"required": True, "content": {"application/json": {"schema": declared.json}}}
    content = _content(declared.body)
    return {"required": True, "content": content} if content else None


def _answer(status: int, answer: Body, declared: Operation | None = None) -> dict[str, Any]:
    headers = {**REQUEST_HEADERS, **STATUS_HEADERS.get(status, {})}
    if status == HTTPStatus.CREATED and isinstance(answer, Json):
        headers["Location"] = _header("Path of what was made.", MADE_AT[answer.schema])
    if isinstance(answer, Binary) and declared:
        has_meta = declared.query and "with_meta" in declared.query.fields
        is_object = isinstance(declared.path, schemas.ObjectPath)
        headers |= CONTENT_HEADERS | (META_HEADERS if has_meta else {}) | (OBJECT_HEADERS if is_object else {})
    described = {"description": HTTPStatus(status).phrase, "headers": headers}
    return {**described, "content": content} if (content := _content(answer)) else described


def _content(body: Body) -> dict[str, Any] | None:
    """Describe a body by media type."""
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
    found = [*declared.errors, *COMMON]
    if declared.path:
        found.append(errors.PageNotFound)
    if declared.query:
        found.append(errors.BadQuery)
        if any(field.required for field in declared.query.fields.values()):
            found.append(errors.ParameterMissing)
    if resource.tag not in WITHOUT_STORAGE:
        found.extend(STORAGE)
    return sorted(found, key=lambda error: (error.spec.status, error.spec.code))


def _error_answers(found: list[type[errors.ServiceError]]) -> dict[int, Any]:
    """Gather errors by status, each with its code and an example."""
    answers = {}
    for status, group in groupby(found, key=lambda error: error.spec.status):
        rows = {str(error.spec.code): error for error in group}
        described = _answer(status, Json(schemas.Error))
        described["description"] = " ".join(f"{code}: {cleandoc(error.__doc__ or '')}" for code, error in rows.items())
        described["content"]["application/json"]["examples"] = {
            code: {"value": error(*EXAMPLES.get(error, ())).body()} for code, error in rows.items()
        }
        answers[status] = described
    return answers


def _schema_name(schema: type[Schema] | Schema | str) -> str:
    """Name a schema in the document as in the code."""
    return schema if isinstance(schema, str) else (schema if isinstance(schema, type) else type(schema)).__name__
