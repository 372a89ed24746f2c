"""Declarations of settings: dataclass fields that carry a help text and the marshmallow field that loads the value."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate

OWN_LABELS = {"path", "status_code", "error_code", "backend", "operation", "le"}  # labels of the metrics themselves

MAX_UNIX_ADDRESS = len("unix:") + 108  # bytes, the limit of Linux
DAY = 86_400  # seconds
NO_NUL = validate.ContainsNoneOf("\0", error="Must not contain a NUL.")

Check = Callable[[Any], Any]


def setting(
    kind: type[fields.Field[Any]], default: Any, description: str, *checks: Check, secret: bool = False, **options: Any
) -> Any:
    """Declare a setting of any type. `options` go to the marshmallow field."""
    loaded = kind(load_default=default, metadata={"description": description, "secret": secret}, validate=list(checks), **options)
    made = {"default_factory": default.copy} if isinstance(default, dict) else {"default": default}
    return field(**made, metadata={"field": loaded})


def text(default: str, description: str, *checks: Check, **options: Any) -> Any:
    """Declare a text."""
    return setting(fields.String, default, description, *checks, NO_NUL, **options)


def choice(default: str, description: str, *choices: str) -> Any:
    """Declare a text that is one of `choices`."""
    return text(default, description, validate.OneOf(choices))


def whole(default: int, description: str, minimum: int = 1, maximum: int | None = None) -> Any:
    """Declare a whole number from `minimum` to `maximum`."""
    return setting(fields.Integer, default, description, validate.Range(minimum, maximum), strict=True)


def seconds(default: float, description: str) -> Any:
    """Declare a time in seconds, above 0 and up to a day."""
    return setting(fields.Float, default, description, validate.Range(0, DAY, min_inclusive=False))


def switch(default: bool, description: str) -> Any:
    """Declare a switch: true or false."""
    return setting(fields.Boolean, default, description, truthy={True}, falsy={False})


def check_address(address: str) -> None:
    """Raise ValidationError if `address` is not HOST:PORT or unix:PATH."""
    host, _, port = address.rpartition(":")
    is_port = bool(host) and "/" not in host and port.isascii() and port.isdigit() and int(port) < 2**16
    is_path = re.fullmatch("unix:.+", address) and len(os.fsencode(address)) < MAX_UNIX_ADDRESS
    if not is_port and not is_path:
        raise ValidationError("Must be HOST:PORT or unix:PATH; a path has up to 107 bytes.")


def check_url(url: str) -> None:
    """Raise ValidationError if `url` is not a URL of an S3 service, or has credentials, which only their own settings mask."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:  # invalid port or IPv6 address
        is_valid = False
    if url and not is_valid:
        raise ValidationError("Must be http:// or https:// with a host.")
    if "@" in url:
        raise ValidationError("Must not contain credentials; use ACCESS_KEY_ID and SECRET_ACCESS_KEY.")


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise ValidationError for a label name that is invalid or that the service itself sets."""
    for name in labels:
        if not re.fullmatch("(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise ValidationError(f"{name} is not a valid label name.")
        if name in OWN_LABELS:
            raise ValidationError(f"{name} is a label that the service itself sets.")
