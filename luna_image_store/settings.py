"""The settings: sections of keys, each declared once with its type, default and help; the only reader of the environment.

Defaults < a TOML file < environment variables LUNA_IMAGE_STORE__SECTION__KEY. What is not declared here, or has a bad value,
stops the start and is named.
"""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from luna_image_store.setting_fields import (
    DAY,
    check_address,
    check_labels,
    check_url,
    choice,
    seconds,
    setting,
    switch,
    text,
    whole,
)

FILE_VARIABLE = "LUNA_IMAGE_STORE_CONFIG"
PREFIX = "LUNA_IMAGE_STORE__"
MASK = "***"

Given = dict[str, dict[str, Any]]


class SettingsError(RuntimeError):
    """A setting is unknown or has a bad value; the message names it and where it came from.

    gunicorn prints a RuntimeError at its start without a traceback.
    """


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the service listens, and how many requests it works on at once."""

    bind: str = text(
        "127.0.0.1:5020",
        "Address and port, or `unix:` and the path of a socket. Changes with a restart only; not used with a socket of systemd.",
        check_address,
    )
    workers: int = whole(0, "Worker processes. 0: two per core on a disk, one per core on S3.", 0, 1000)
    threads: int = whole(0, "Threads per worker: requests that it serves at once. 0: eight.", 0, 1000)
    connections: int = whole(
        0, "Connections per worker, idle ones too; further ones wait. 0: one and a half per thread, at least 12.", 0, 100_000
    )
    request_timeout: int = whole(
        60,
        "Seconds after which a connection is closed on which the client neither sends what it announced nor reads its answer, "
        "and after which a worker that hangs is replaced.",
        1,
        DAY,
    )
    keepalive_timeout: int = whole(
        5, "Seconds that an idle connection is kept. 0: none is. A balancer must give up its own before.", 0, DAY
    )
    graceful_timeout: int = whole(30, "Seconds that running requests have to end when the service stops or reloads.", 1, DAY)
    drain_file: str = text(
        "./var/draining",
        "While this file exists, `/readyz` says 503 and balancers turn away. `luna-image-store drain` makes it, a start "
        "removes it.",
        validate.Length(1),
    )
    drain_time: int = whole(0, "Seconds for which `luna-image-store drain` waits: what a balancer needs to turn away.", 0, DAY)


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where pictures and objects are kept."""

    type: str = choice("disk", "`disk`: a local directory, see LOCAL_STORAGE. `s3`: an S3 service, see S3.", "disk", "s3")


@dataclass(frozen=True, slots=True)
class LocalStorageSettings:
    """The storage on a local disk."""

    path: str = text("./var/storage", "Directory that holds the buckets; made at start where it is missing.", validate.Length(1))
    durable: bool = switch(
        True,
        "Wait until a save has reached the disk before it is acknowledged. "
        "`false` is faster, and a power cut takes the saves of the last seconds.",
    )


@dataclass(frozen=True, slots=True)
class S3Settings:
    """The storage on S3: Amazon's, or a service of your own that speaks its language."""

    endpoint_url: str = text("", "URL of the S3 service; empty: Amazon's, by region.", check_url)
    region: str = text("", "Region, in which buckets are made too; empty: as the AWS environment says.")
    access_key_id: str = text("", "Access key; empty: the usual AWS chain (environment, profile, instance role).")
    secret_access_key: str = text("", "Secret key that goes with ACCESS_KEY_ID.", secret=True)
    addressing_style: str = choice("auto", "How a bucket is addressed: in the path or as a host.", "auto", "path", "virtual")
    connect_timeout: float = seconds(5.0, "Seconds to wait for a connection.")
    read_timeout: float = seconds(30.0, "Seconds to wait for the next bytes.")
    max_attempts: int = whole(3, "Times that a request is tried in all, with pauses of growing, random length.")
    max_connections: int = whole(
        0, "Connections per worker that are kept. 0: one per thread, and eight to look up the owners of many at once.", 0
    )
    verify_ssl: bool = switch(True, "Check the certificate of the S3 service.")


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How pictures are taken and rendered."""

    jpeg_quality: int = whole(95, "Quality of the JPEG that a picture of another format becomes, 1 to 100.", 1, 100)
    preview_quality: int = whole(
        90, "JPEG quality of previews, 1 to 100; from 75 up they are at their best for their bytes.", 1, 100
    )
    background: str = text(
        "#ffffff", "What transparent pictures are laid on, as `#rrggbb`.", validate.Regexp(r"^#[0-9a-fA-F]{6}\Z")
    )
    max_size: int = whole(64 * 2**20, "Largest picture in bytes.")
    max_pixels: int = whole(75_000_000, "Largest picture in pixels, checked before it is decoded.")
    allow_plain_pillow: bool = switch(False, "Start with plain Pillow 12.3 or later, on machines that are not x86-64.")


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """How objects are taken."""

    max_size: int = whole(2**30, "Largest object in bytes.")


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """What is logged, and where to."""

    log_level: str = choice("INFO", "The least level that is logged.", "DEBUG", "INFO", "WARNING", "ERROR")
    log_time: str = choice("LOCAL", "Time zone of the time stamps.", "LOCAL", "UTC")
    log_to_stdout: bool = switch(True, "Log to standard output.")
    log_to_file: bool = switch(False, "Log to `luna-image-store.log` in FOLDER_WITH_LOGS.")
    folder_with_logs: str = text("./var/logs", "Directory of the log files; made at start where it is missing.", validate.Length(1))
    max_log_file_size: int = whole(1024, "Megabytes after which a log file is rotated; five old ones are kept. 0: never.", 0)
    format: str = choice("default", "`default`: a line of text; `json`: a JSON object per line.", "default", "json")


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """A point per request, for InfluxDB 2."""

    send_data_for_monitoring: bool = switch(False, "Send the points.")
    use_ssl: bool = switch(False, "Use https.")
    host: str = text("127.0.0.1", "Host of the InfluxDB server.")
    port: int = whole(8086, "Port of the InfluxDB server.", 1, 65535)
    organization: str = text("luna", "Organization in InfluxDB.")
    token: str = text(
        "",
        "Token for InfluxDB.",
        validate.Regexp(r"[!-~]*\Z", error="Must be printable ASCII without spaces."),  # else an error of its header would show it
        secret=True,
    )
    bucket: str = text("luna_monitoring", "Bucket in InfluxDB.")
    flushing_period: float = seconds(1.0, "Seconds between two batches.")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Metrics for Prometheus."""

    enabled: bool = switch(False, "Serve metrics at `/metrics`.")
    extra_labels: Mapping[str, str] = setting(
        fields.Dict, {}, "Labels that every metric gets.", check_labels, keys=fields.String(), values=fields.String()
    )


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Traces by OpenTelemetry; needs the extra `luna-image-store[tracing]`."""

    enabled: bool = switch(False, "Send traces to where the environment variables `OTEL_*` say.")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, by section."""

    http: HttpSettings = field(default_factory=HttpSettings, metadata={"name": "HTTP"})
    storage: StorageSettings = field(default_factory=StorageSettings, metadata={"name": "STORAGE"})
    local_storage: LocalStorageSettings = field(default_factory=LocalStorageSettings, metadata={"name": "LOCAL_STORAGE"})
    s3: S3Settings = field(default_factory=S3Settings, metadata={"name": "S3"})
    images: ImageSettings = field(default_factory=ImageSettings, metadata={"name": "IMAGES"})
    objects: ObjectSettings = field(default_factory=ObjectSettings, metadata={"name": "OBJECTS"})
    logger: LoggerSettings = field(default_factory=LoggerSettings, metadata={"name": "LUNA_IMAGE_STORE_LOGGER"})
    influx: InfluxSettings = field(default_factory=InfluxSettings, metadata={"name": "INFLUX_MONITORING"})
    metrics: MetricsSettings = field(default_factory=MetricsSettings, metadata={"name": "LUNA_SERVICE_METRICS"})
    tracing: TracingSettings = field(default_factory=TracingSettings, metadata={"name": "TRACING"})


class SectionSchema(Schema):
    """Base of the schemas of sections, which are made of the fields that these declare."""

    class Meta:
        """Refuse keys that are not declared."""

        unknown = RAISE


def _schema(section: type) -> Schema:
    declared = {setting.name.upper(): setting.metadata["field"] for setting in dataclasses.fields(section)}
    return SectionSchema.from_dict(declared, name=section.__name__)()


SECTION_TYPES: Mapping[str, Any] = {section.metadata["name"]: section.type for section in dataclasses.fields(Settings)}
SECTIONS: Mapping[str, Schema] = {name: _schema(kind) for name, kind in SECTION_TYPES.items()}


def load(path: str | None = None, environ: Mapping[str, str] = os.environ, prefix: str = PREFIX) -> Settings:
    """Load the settings, or raise SettingsError. `path` of the TOML file: as given, else LUNA_IMAGE_STORE_CONFIG, else none.

    Variables of the environment whose names begin with `prefix` win over the file.
    """
    given, origin = _given(path, environ, prefix)
    sections = {section.name: _load_section(section.metadata["name"], given, origin) for section in dataclasses.fields(Settings)}
    return Settings(**sections)


def origins(path: str | None = None, environ: Mapping[str, str] = os.environ) -> Mapping[tuple[str, str], str]:
    """Tell for each section and key that is given, and not left to its default, where it is."""
    return _given(path, environ, PREFIX)[1]


def masked(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the settings by section and key, with a mask in place of each secret that is set."""
    return {section.metadata["name"]: _masked(getattr(settings, section.name)) for section in dataclasses.fields(settings)}


def _masked(section: Any) -> dict[str, Any]:
    values = {setting.name.upper(): getattr(section, setting.name) for setting in dataclasses.fields(section)}
    secrets = {setting.name.upper() for setting in dataclasses.fields(section) if setting.metadata["field"].metadata["secret"]}
    return {key: MASK if value and key in secrets else value for key, value in values.items()}


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
    except (OSError, ValueError, RecursionError) as ex:
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


def _load_section(name: str, given: Given, origin: Mapping[tuple[str, str], str]) -> Any:
    try:
        values: dict[str, Any] = SECTIONS[name].load(given.get(name, {}))
    except ValidationError as ex:
        faults = (f"{name}.{key}: {_words(reasons)} (from {origin[name, key]})" for key, reasons in ex.messages_dict.items())
        raise SettingsError("; ".join(faults)) from ex
    return SECTION_TYPES[name](**{key.lower(): value for key, value in values.items()})


def _words(reasons: Any) -> str:
    return " ".join(reasons) if isinstance(reasons, list) else str(reasons)
