"""What the body of a request or an answer is, as declared by an operation for the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass

from marshmallow import Schema


@dataclass(frozen=True, slots=True)
class NoBody:
    """Nothing but headers."""


@dataclass(frozen=True, slots=True)
class Json:
    """JSON that a schema describes."""

    schema: type[Schema]


@dataclass(frozen=True, slots=True)
class Example:
    """Bodies of which an example is all that is said, by media type; None for one without an example."""

    values: Mapping[str, object]


class Binary:
    """Stored content of one of these media types, with its headers. Without a type: the headers alone."""

    def __init__(self, *types: str) -> None:
        self.types = types


Body = NoBody | Json | Example | Binary
