"""How a setting is declared: a dataclass field that carries the marshmallow field that loads it, and its help."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate

OWN_LABELS = {"path", "status_code", "error_code", "backend", "operation", "le"}  # that metrics have without EXTRA_LABELS

MAX_UNIX_ADDRESS = len("unix:") + 108  # bytes, as Linux has it
DAY = 86_400  # seconds
NO_NUL = validate.ContainsNoneOf("\0", error="Must not contain a NUL.")

Check = Callable[[Any], Any]


def setting(
    kind: type[fields.Field[Any]], default: Any, description: str, *checks: Check, secret: bool = False, **options: Any
) -> Any:
    """Declare a setting of any kind; `options` are those of the marshmallow field."""
    loaded = kind(load_default=default, metadata={"description": description, "secret": secret}, validate=list(checks), **options)
    made = {"default_factory": default.copy} if isinstance(default, dict) else {"default": default}
    return field(**made, metadata={"field": loaded})


def text(default: str, description: str, *checks: Check, **options: Any) -> Any:
    """Declare a text."""
    return setting(fields.String, default, description, *checks, NO_NUL, **options)


def choice(default: str, description: str, *choices: str) -> Any:
    """Declare a text that is one of some."""
    return text(default, description, validate.OneOf(choices))


def whole(default: int, description: str, least: int = 1, most: int | None = None) -> Any:
    """Declare a whole number from `least` to `most`."""
    return setting(fields.Integer, default, description, validate.Range(least, most), strict=True)


def seconds(default: float, description: str) -> Any:
    """Declare a time above 0, up to a day."""
    return setting(fields.Float, default, description, validate.Range(0, DAY, min_inclusive=False))


def switch(default: bool, description: str) -> Any:
    """Declare what is on or off."""
    return setting(fields.Boolean, default, description, truthy={True}, falsy={False})


def check_address(address: str) -> None:
    """Raise ValidationError unless it is an address to listen on."""
    host, _, port = address.rpartition(":")
    is_port = bool(host) and "/" not in host and port.isascii() and port.isdigit() and int(port) < 2**16
    is_path = re.fullmatch("unix:.+", address) and len(os.fsencode(address)) < MAX_UNIX_ADDRESS
    if not is_port and not is_path:
        raise ValidationError("Must be HOST:PORT or unix:PATH; a path has up to 107 bytes.")


def check_url(url: str) -> None:
    """Raise ValidationError unless it is where an S3 service may be. Credentials have settings of their own, which are masked."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:  # of a port or an IPv6 address
        is_good = False
    if url and not is_good:
        raise ValidationError("Must be http:// or https:// with a host.")
    if "@" in url:
        raise ValidationError("Must not contain credentials; they belong to ACCESS_KEY_ID and SECRET_ACCESS_KEY.")


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise ValidationError for a name that Prometheus or the service itself does not leave free."""
    for name in labels:
        if not re.fullmatch("(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise ValidationError(f"{name} is no name for a label.")
        if name in OWN_LABELS:
            raise ValidationError(f"{name} is a label of the service's own.")
