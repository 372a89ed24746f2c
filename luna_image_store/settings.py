"""The settings: sections of keys, each declared once with its type, default and help; the only reader of the environment.

Defaults < a TOML file < environment variables LUNA_IMAGE_STORE__SECTION__KEY. What is not declared here, or has a bad value,
stops the start and is named.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate

FILE_VARIABLE = "LUNA_IMAGE_STORE_CONFIG"
PREFIX = "LUNA_IMAGE_STORE__"
MASK = "***"
OWN_LABELS = {"path", "status_code", "error_code", "backend", "operation", "le"}  # that metrics have without EXTRA_LABELS

Section = Mapping[str, Any]
Settings = Mapping[str, Section]
Given = dict[str, dict[str, Any]]
Check = Callable[[Any], Any]


class SettingsError(RuntimeError):
    """A setting is unknown or has a bad value; the message names it and where it came from.

    gunicorn prints a RuntimeError at its start without a traceback.
    """


def _field(kind: type[fields.Field[Any]], default: object, text: str, *checks: Check, **options: Any) -> fields.Field[Any]:
    metadata = {"description": text, "secret": options.pop("secret", False)}
    return kind(load_default=default, metadata=metadata, validate=list(checks), **options)


def _text(default: str, text: str, *checks: Check, **options: Any) -> fields.Field[Any]:
    return _field(fields.String, default, text, *checks, **options)


def _choice(default: str, text: str, *choices: str) -> fields.Field[Any]:
    return _text(default, text, validate.OneOf(choices))


def _whole(default: int, text: str, least: int = 1, most: int | None = None) -> fields.Field[Any]:
    return _field(fields.Integer, default, text, validate.Range(least, most), strict=True)


def _number(default: float, text: str) -> fields.Field[Any]:
    return _field(fields.Float, default, text, validate.Range(0, min_inclusive=False))


def _switch(default: bool, text: str) -> fields.Field[Any]:
    return _field(fields.Boolean, default, text, truthy={True}, falsy={False})


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    is_port = bool(host) and "/" not in host and port.isascii() and port.isdigit() and int(port) < 2**16
    if not is_port and not re.fullmatch("unix:.+", address):
        raise ValidationError("Must be HOST:PORT or unix:PATH.")


def _check_url(url: str) -> None:
    """Admit where an S3 service may be. Credentials have settings of their own, which are masked."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:  # of a port or an IPv6 address
        is_good = False
    if url and not is_good:
        raise ValidationError("Must be http:// or https:// with a host.")
    if "@" in url:
        raise ValidationError("Must not contain credentials; they belong to ACCESS_KEY_ID and SECRET_ACCESS_KEY.")


def _check_labels(labels: Mapping[str, str]) -> None:
    for name in labels:
        if not re.fullmatch("(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise ValidationError(f"{name} is no name for a label.")
        if name in OWN_LABELS:
            raise ValidationError(f"{name} is a label of the service's own.")


class SectionSchema(Schema):
    """Base of all sections; the docstring of a section is its introduction in the manual."""

    class Meta:
        """Refuse keys that are not declared."""

        unknown = RAISE


class Http(SectionSchema):
    """Where the service listens, and how many requests it works on at once."""

    BIND = _text(
        "127.0.0.1:5020",
        "Address and port, or `unix:` and the path of a socket. Changes with a restart only; not used with a socket of systemd.",
        _check_address,
    )
    WORKERS = _whole(0, "Worker processes. 0: two per core on a disk (durable saves wait for it), one per core on S3.", 0, 1000)
    THREADS = _whole(0, "Threads per worker. 0: one on a disk, eight on S3.", 0, 1000)
    REQUEST_TIMEOUT = _whole(
        60,
        "Seconds that a client may keep the service waiting; it gets them back at one for each 10 kB that it moves. "
        "A worker that hangs for five seconds longer is replaced.",
    )
    KEEPALIVE_TIMEOUT = _whole(5, "Seconds that an idle connection is kept. 0: none is. A balancer must give up its own before.", 0)
    GRACEFUL_TIMEOUT = _whole(30, "Seconds that running requests have to end when the service stops or reloads.")
    DRAIN_TIME = _whole(
        0,
        "Seconds for which a service that is told to stop still takes requests, while `/readyz` says 503: a balancer needs some "
        "to turn away. Then it stops; a second SIGTERM ends the wait.",
        0,
    )


class StorageSection(SectionSchema):
    """Where pictures and objects are kept."""

    TYPE = _choice("disk", "`disk`: a local directory, see LOCAL_STORAGE. `s3`: an S3 service, see S3.", "disk", "s3")


class LocalStorage(SectionSchema):
    """The storage on a local disk."""

    PATH = _text("./var/storage", "Directory that holds the buckets; made at start where it is missing.", validate.Length(1))
    DURABLE = _switch(
        True,
        "Wait until a save has reached the disk before it is acknowledged. "
        "`false` is faster, and a power cut takes the saves of the last seconds.",
    )


class S3(SectionSchema):
    """The storage on S3: Amazon's, or a service of your own that speaks its language."""

    ENDPOINT_URL = _text("", "URL of the S3 service; empty: Amazon's, by region.", _check_url)
    REGION = _text("", "Region, in which buckets are made too; empty: as the AWS environment says.")
    ACCESS_KEY_ID = _text("", "Access key; empty: the usual AWS chain (environment, profile, instance role).")
    SECRET_ACCESS_KEY = _text("", "Secret key that goes with ACCESS_KEY_ID.", secret=True)
    ADDRESSING_STYLE = _choice("auto", "How a bucket is addressed: in the path or as a host.", "auto", "path", "virtual")
    CONNECT_TIMEOUT = _number(5.0, "Seconds to wait for a connection.")
    READ_TIMEOUT = _number(30.0, "Seconds to wait for the next bytes.")
    MAX_ATTEMPTS = _whole(3, "Times that a request is tried in all, with pauses of growing, random length.")
    MAX_CONNECTIONS = _whole(
        0, "Connections per worker that are kept. 0: one per thread, and eight to look up the owners of many at once.", 0
    )
    VERIFY_SSL = _switch(True, "Check the certificate of the S3 service.")


class Images(SectionSchema):
    """How pictures are taken and rendered."""

    JPEG_QUALITY = _whole(95, "Quality of the JPEG that a picture of another format becomes, 1 to 100.", 1, 100)
    PREVIEW_QUALITY = _whole(90, "JPEG quality of previews, 1 to 100; from 75 up they are at their best for their bytes.", 1, 100)
    BACKGROUND = _text("#ffffff", "What transparent pictures are laid on, as `#rrggbb`.", validate.Regexp(r"^#[0-9a-fA-F]{6}\Z"))
    MAX_SIZE = _whole(64 * 2**20, "Largest picture in bytes.")
    MAX_PIXELS = _whole(75_000_000, "Largest picture in pixels, checked before it is decoded.")
    ALLOW_PLAIN_PILLOW = _switch(False, "Start with plain Pillow 12.3 or later, on machines that are not x86-64.")


class Objects(SectionSchema):
    """How objects are taken."""

    MAX_SIZE = _whole(2**30, "Largest object in bytes.")


class Logger(SectionSchema):
    """What is logged, and where to."""

    LOG_LEVEL = _choice("INFO", "The least level that is logged.", "DEBUG", "INFO", "WARNING", "ERROR")
    LOG_TIME = _choice("LOCAL", "Time zone of the time stamps.", "LOCAL", "UTC")
    LOG_TO_STDOUT = _switch(True, "Log to standard output.")
    LOG_TO_FILE = _switch(False, "Log to `luna-image-store.log` in FOLDER_WITH_LOGS.")
    FOLDER_WITH_LOGS = _text("./var/logs", "Directory of the log files; made at start where it is missing.", validate.Length(1))
    MAX_LOG_FILE_SIZE = _whole(1024, "Megabytes after which a log file is rotated; five old ones are kept. 0: never.", 0)
    FORMAT = _choice("default", "`default`: a line of text; `json`: a JSON object per line.", "default", "json")


class InfluxMonitoring(SectionSchema):
    """A point per request, for InfluxDB 2."""

    SEND_DATA_FOR_MONITORING = _switch(False, "Send the points.")
    USE_SSL = _switch(False, "Use https.")
    HOST = _text("127.0.0.1", "Host of the InfluxDB server.")
    PORT = _whole(8086, "Port of the InfluxDB server.", 1, 65535)
    ORGANIZATION = _text("luna", "Organization in InfluxDB.")
    TOKEN = _text(
        "",
        "Token for InfluxDB.",
        validate.Regexp(r"[!-~]*\Z", error="Must be printable ASCII without spaces."),  # else an error of its header would show it
        secret=True,
    )
    BUCKET = _text("luna_monitoring", "Bucket in InfluxDB.")
    FLUSHING_PERIOD = _number(1.0, "Seconds between two batches.")


class ServiceMetrics(SectionSchema):
    """Metrics for Prometheus."""

    ENABLED = _switch(False, "Serve metrics at `/metrics`.")
    EXTRA_LABELS = _field(
        fields.Dict, {}, "Labels that every metric gets.", _check_labels, keys=fields.String(), values=fields.String()
    )


class Tracing(SectionSchema):
    """Traces by OpenTelemetry; needs the extra `luna-image-store[tracing]`."""

    ENABLED = _switch(False, "Send traces to where the environment variables `OTEL_*` say.")


SECTIONS: Mapping[str, SectionSchema] = {
    "HTTP": Http(),
    "STORAGE": StorageSection(),
    "LOCAL_STORAGE": LocalStorage(),
    "S3": S3(),
    "IMAGES": Images(),
    "OBJECTS": Objects(),
    "LUNA_IMAGE_STORE_LOGGER": Logger(),
    "INFLUX_MONITORING": InfluxMonitoring(),
    "LUNA_SERVICE_METRICS": ServiceMetrics(),
    "TRACING": Tracing(),
}


def load(path: str | None = None, environ: Mapping[str, str] = os.environ, prefix: str = PREFIX) -> Settings:
    """Load the settings, or raise SettingsError. `path` of the TOML file: as given, else LUNA_IMAGE_STORE_CONFIG, else none.

    Variables of the environment whose names begin with `prefix` win over the file.
    """
    given, origin = _given(path, environ, prefix)
    return {name: _load_section(name, given.get(name, {}), origin) for name in SECTIONS}


def origins(path: str | None = None, environ: Mapping[str, str] = os.environ) -> Mapping[tuple[str, str], str]:
    """Tell for each section and key that is given, and not left to its default, where it is."""
    return _given(path, environ, PREFIX)[1]


def masked(settings: Settings) -> dict[str, dict[str, Any]]:
    """Copy the settings with a mask in place of each secret that is set."""
    return {
        name: {key: MASK if value and SECTIONS[name].fields[key].metadata["secret"] else value for key, value in section.items()}
        for name, section in settings.items()
    }


def _given(path: str | None, environ: Mapping[str, str], prefix: str) -> tuple[Given, dict[tuple[str, str], str]]:
    path = path or environ.get(FILE_VARIABLE)
    given = _read_file(path) if path else {}
    origin = {(name, key): path or "" for name, section in given.items() for key in section}
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        section, _, key = variable.removeprefix(prefix).partition("__")
        if section not in SECTIONS or key not in SECTIONS[section].fields:
            raise SettingsError(f"environment variable {variable}: there is no such setting")
        given.setdefault(section, {})[key] = _parse(SECTIONS[section].fields[key], environ[variable])
        origin[section, key] = variable
    if unknown := given.keys() - SECTIONS.keys():
        raise SettingsError(f"{path}: there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return given, origin


def _read_file(path: str) -> Given:
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as ex:
        raise SettingsError(f"settings file {path}: {ex}") from ex
    if stray := [name for name, value in content.items() if not isinstance(value, dict)]:
        raise SettingsError(f"settings file {path}: {', '.join(stray)} stands outside of a [SECTION]")
    return content


def _parse(field: fields.Field[Any], text: str) -> object:
    """Read an environment variable: texts as they are, anything else as a TOML value (`8`, `0.5`, `true`, `{a = "b"}`)."""
    if isinstance(field, fields.String):
        return text
    try:
        parsed = tomllib.loads(f"value = {text.lower() if isinstance(field, fields.Boolean) else text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _load_section(name: str, given: Mapping[str, Any], origin: Mapping[tuple[str, str], str]) -> Section:
    try:
        return cast(Section, SECTIONS[name].load(given))
    except ValidationError as ex:
        faults = (f"{name}.{key}: {_words(reasons)} (from {origin[name, key]})" for key, reasons in ex.messages_dict.items())
        raise SettingsError("; ".join(faults)) from ex


def _words(reasons: Any) -> str:
    return " ".join(reasons) if isinstance(reasons, list) else str(reasons)
