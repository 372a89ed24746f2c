"""Descriptions of request and response bodies for the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass

from marshmallow import Schema


@dataclass(frozen=True, slots=True)
class NoBody:
    """No body."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON body with a schema."""

    schema: type[Schema]


@dataclass(frozen=True, slots=True)
class Example:
    """Example bodies by media type. None is a body without an example."""

    values: Mapping[str, object]


class Binary:
    """Stored content of one of these media types, with its headers. Without types: only the headers."""

    def __init__(self, *types: str) -> None:
        self.types = types


Body = NoBody | Json | Example | Binary
