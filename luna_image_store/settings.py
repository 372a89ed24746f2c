"""The settings: sections of keys, each declared once with type, default and help. Only this module reads the environment.

Environment variables LUNA_IMAGE_STORE__SECTION__KEY override a TOML file, and the file overrides the defaults. An unknown
setting or an invalid value raises SettingsError.
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
    """A setting is unknown or has an invalid value. The message names the setting and its source.

    gunicorn prints a RuntimeError at start without a traceback.
    """


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The address of the service, its workers and threads, and its timeouts."""

    bind: str = text(
        "127.0.0.1:5020",
        "Address to listen on: `HOST:PORT`, or `unix:PATH` for a unix socket. A change needs a restart. Ignored if systemd passes "
        "a socket.",
        check_address,
    )
    workers: int = whole(0, "Number of worker processes. 0: two per core on a disk, one per core on S3.", 0, 1000)
    threads: int = whole(
        0, "Threads per worker: the number of requests that a worker serves at the same time. 0: 8 threads.", 0, 1000
    )
    connections: int = whole(
        0,
        "Maximum number of connections per worker, including idle connections. Further connections wait. 0: 1.5 per thread, at "
        "least 12.",
        0,
        100_000,
    )
    request_timeout: int = whole(
        60,
        "Seconds to wait for the next bytes of a request, or for the client to read the response. Then the connection is closed. "
        "A worker that hangs for this time is replaced.",
        1,
        DAY,
    )
    keepalive_timeout: int = whole(
        5,
        "Seconds to keep an idle connection open. 0: close each connection after its request. Set a shorter time for idle "
        "connections in the load balancer.",
        0,
        DAY,
    )
    graceful_timeout: int = whole(30, "Seconds that running requests have to finish when the service stops or reloads.", 1, DAY)
    drain_file: str = text(
        "./var/draining",
        "While this file exists, `/readyz` answers 503, so that load balancers send no more requests. `luna-image-store drain` "
        "creates the file; a start removes it.",
        validate.Length(1),
    )
    drain_time: int = whole(
        0, "Seconds that `luna-image-store drain` waits for load balancers to notice that the service is draining.", 0, DAY
    )


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The type of the storage."""

    type: str = choice(
        "disk", "`disk`: a local directory, see section LOCAL_STORAGE. `s3`: an S3 service, see section S3.", "disk", "s3"
    )


@dataclass(frozen=True, slots=True)
class LocalStorageSettings:
    """The storage on a local disk."""

    path: str = text("./var/storage", "Root directory of the buckets. A start creates it if it is missing.", validate.Length(1))
    durable: bool = switch(
        True,
        "`true`: acknowledge a save when the record is on the disk. `false`: faster, but a power failure loses the saves "
        "of the last seconds.",
    )


@dataclass(frozen=True, slots=True)
class S3Settings:
    """The storage on S3: Amazon S3 or a compatible service."""

    endpoint_url: str = text("", "URL of the S3 service. Empty: Amazon S3 in the region.", check_url)
    region: str = text("", "Region of the S3 service; new buckets are created in it. Empty: the region of the AWS environment.")
    access_key_id: str = text("", "Access key. Empty: the AWS credential chain (environment, profile, instance role).")
    secret_access_key: str = text("", "Secret key for ACCESS_KEY_ID.", secret=True)
    addressing_style: str = choice(
        "auto",
        "`path`: the bucket name is in the path of the URL. `virtual`: in the host name. `auto`: boto3 chooses.",
        "auto",
        "path",
        "virtual",
    )
    connect_timeout: float = seconds(5.0, "Seconds to wait for a connection to the S3 service.")
    read_timeout: float = seconds(30.0, "Seconds to wait for the next bytes of a response of the S3 service.")
    max_attempts: int = whole(
        3, "Maximum number of attempts per request to S3, the first one included. The pauses between them are random and grow."
    )
    max_connections: int = whole(
        0, "Connections to S3 per worker that stay open for reuse. 0: one per thread, and 8 more to look up owners in parallel.", 0
    )
    verify_ssl: bool = switch(True, "Verify the certificate of the S3 service.")


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Limits of images, and the quality of the JPEGs made from them."""

    jpeg_quality: int = whole(95, "JPEG quality of stored images that were not uploaded as JPEG, 1 to 100.", 1, 100)
    preview_quality: int = whole(
        90, "JPEG quality of previews, 1 to 100. From 75 up, previews have the best quality for their size.", 1, 100
    )
    background: str = text(
        "#ffffff", "Background color of transparent images, as `#rrggbb`.", validate.Regexp(r"^#[0-9a-fA-F]{6}\Z")
    )
    max_size: int = whole(64 * 2**20, "Maximum size of an uploaded image in bytes.")
    max_pixels: int = whole(75_000_000, "Maximum number of pixels of an image. Larger images are refused before they are decoded.")
    allow_plain_pillow: bool = switch(
        False, "Allow plain Pillow 12.3 or later in place of Pillow-SIMD, for machines that are not x86-64."
    )


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """Limits of objects."""

    max_size: int = whole(2**30, "Maximum size of an object in bytes.")


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """Level, format and destination of the log."""

    log_level: str = choice("INFO", "Lowest level that is logged.", "DEBUG", "INFO", "WARNING", "ERROR")
    log_time: str = choice("LOCAL", "Time zone of the time stamps: local time or UTC.", "LOCAL", "UTC")
    log_to_stdout: bool = switch(True, "Write the log to standard output.")
    log_to_file: bool = switch(False, "Write the log to the file `luna-image-store.log` in FOLDER_WITH_LOGS.")
    folder_with_logs: str = text(
        "./var/logs", "Directory of the log files. A start creates it if it is missing.", validate.Length(1)
    )
    max_log_file_size: int = whole(
        1024, "Size in megabytes at which the log file is rotated. Five old files are kept. 0: no rotation.", 0
    )
    format: str = choice("default", "`default`: a line of text per entry. `json`: a JSON object per line.", "default", "json")


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Monitoring points for InfluxDB 2: one per request, and a second one for an error response."""

    send_data_for_monitoring: bool = switch(False, "Send points to InfluxDB.")
    use_ssl: bool = switch(False, "Connect to InfluxDB with HTTPS.")
    host: str = text("127.0.0.1", "Host name of the InfluxDB server.")
    port: int = whole(8086, "Port of the InfluxDB server.", 1, 65535)
    organization: str = text("luna", "Organization in InfluxDB.")
    token: str = text(
        "",
        "API token of InfluxDB.",
        # an error about an invalid header would show the token
        validate.Regexp(r"[!-~]*\Z", error="Must be printable ASCII without spaces."),
        secret=True,
    )
    bucket: str = text("luna_monitoring", "Bucket in InfluxDB.")
    flushing_period: float = seconds(1.0, "Seconds between two batches of points.")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Metrics for Prometheus."""

    enabled: bool = switch(False, "Serve metrics at `/metrics`.")
    extra_labels: Mapping[str, str] = setting(
        fields.Dict, {}, "Labels to add to every metric.", check_labels, keys=fields.String(), values=fields.String()
    )


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Traces with OpenTelemetry. They need the extra `luna-image-store[tracing]`."""

    enabled: bool = switch(False, "Send traces to the collector that the environment variables `OTEL_*` name.")


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
    """Base of the schemas of sections. Their fields are those that the dataclasses declare."""

    class Meta:
        """Refuse unknown keys."""

        unknown = RAISE


def _schema(section: type) -> Schema:
    declared = {setting.name.upper(): setting.metadata["field"] for setting in dataclasses.fields(section)}
    return SectionSchema.from_dict(declared, name=section.__name__)()


SECTION_TYPES: Mapping[str, Any] = {section.metadata["name"]: section.type for section in dataclasses.fields(Settings)}
SECTIONS: Mapping[str, Schema] = {name: _schema(kind) for name, kind in SECTION_TYPES.items()}


def load(path: str | None = None, environ: Mapping[str, str] = os.environ, prefix: str = PREFIX) -> Settings:
    """Load the settings from the TOML file at `path`, by default the file that LUNA_IMAGE_STORE_CONFIG names, if any.

    Environment variables whose names begin with `prefix` override the file. Raise SettingsError for an invalid setting.
    """
    given, origin = _given(path, environ, prefix)
    sections = {section.name: _load_section(section.metadata["name"], given, origin) for section in dataclasses.fields(Settings)}
    return Settings(**sections)


def origins(path: str | None = None, environ: Mapping[str, str] = os.environ) -> Mapping[tuple[str, str], str]:
    """Return the source of each setting that is given: the path of the file or the name of the variable, by section and key."""
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
            raise SettingsError(f"environment variable {variable}: no such setting")
        given.setdefault(section, {})[key] = _parse(SECTIONS[section].fields[key], environ[variable])
        origin[section, key] = variable
    if unknown := given.keys() - SECTIONS.keys():
        raise SettingsError(f"{path}: no such section: {', '.join(sorted(unknown))}; the sections are {', '.join(SECTIONS)}")
    return given, origin


def _read_file(path: str) -> Given:
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as ex:
        raise SettingsError(f"settings file {path}: {ex}") from ex
    if outside := [name for name, value in content.items() if not isinstance(value, dict)]:
        raise SettingsError(f"settings file {path}: {', '.join(outside)} is outside of a [SECTION]")
    return content


def _parse(field: fields.Field[Any], text: str) -> object:
    """Parse an environment variable: a text as it is, any other value as TOML (`8`, `0.5`, `true`, `{a = "b"}`)."""
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
        problems = (f"{name}.{key}: {_words(reasons)} (from {origin[name, key]})" for key, reasons in ex.messages_dict.items())
        raise SettingsError("; ".join(problems)) from ex
    return SECTION_TYPES[name](**{key.lower(): value for key, value in values.items()})


def _words(reasons: Any) -> str:
    return " ".join(reasons) if isinstance(reasons, list) else str(reasons)
