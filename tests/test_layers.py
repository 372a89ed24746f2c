"""A module imports only from lower layers; which library is used where is settled too."""

import ast
from pathlib import Path

import pytest

import luna_image_store

ROOT = Path(luna_image_store.__file__).parent
LAYERS = (
    {"luna_image_store", "storage", "monitoring"},  # the version and three docstrings
    {"errors", "settings"},
    {
        *("record", "content_types", "capacity", "phase"),
        *("imaging", "imaging.color", "imaging.limits", "imaging.pillow", "imaging.render"),
        *(
            f"imaging.formats{name}"
            for name in ("", ".bmp", ".bmp_run_lengths", ".exif", ".gif", ".jpeg", ".png", ".ppm", ".source")
        ),
        *(f"imaging.formats.tiff{name}" for name in ("", ".directory", ".page", ".samples", ".source", ".unpack")),
    },
    {
        *(
            "storage.base",
            "storage.files",
            "storage.disk",
            "storage.disk_entries",
            "storage.s3",
            "storage.s3_bodies",
            "storage.s3_client",
        ),
        *("storage.s3_errors", "storage.s3_metadata", "storage.s3_names", "storage.s3_removal", "storage.s3_upload"),
    },
    {"services", "health"},
    {
        *("field_types", "schemas", "bodies", "validation", "logs", "middleware", "delivery"),
        *(f"monitoring.{name}" for name in ("series", "requests", "metrics", "measured", "influx", "tracing", "slots", "monitor")),
    },
    {"resources", *(f"resources.{name}" for name in ("base", "buckets", "health", "images", "metrics", "objects", "system"))},
    {"openapi"},
    {"app"},
    {"tools", "tools.exits", "tools.listing", "tools.places", "tools.progress", "tools.report", "tools.table", "tools.workers"},
    {
        *("tools.inspection", "tools.verify", "tools.stats", "tools.moving", "tools.migrate"),
        *("tools.taking", "tools.importing", "tools.giving", "tools.exporting"),
    },
    {"connections", "workers", "arbiter", "server", "wsgi", "tools.commands", "cli"},
)
NUMBERS = {module: number for number, layer in enumerate(LAYERS) for module in layer}
WITHIN_A_LAYER = {
    *(("imaging.render", f"imaging.{name}") for name in ("color", "formats", "formats.jpeg", "limits", "pillow")),
    *(("imaging.formats", f"imaging.formats.{name}") for name in ("bmp", "gif", "jpeg", "png", "ppm", "source", "tiff.source")),
    *((f"imaging.formats.{name}", "imaging.formats.source") for name in ("bmp", "gif", "jpeg", "png", "ppm", "tiff.source")),
    *((f"imaging.formats.{name}", "imaging.formats.exif") for name in ("jpeg", "png", "tiff.source")),
    *((f"imaging.formats.{name}", "imaging.limits") for name in ("bmp_run_lengths", "jpeg", "ppm", "tiff.source", "tiff.unpack")),
    *((f"imaging.formats.tiff.{name}", "imaging.formats.jpeg") for name in ("source", "unpack")),
    *((f"imaging.formats.tiff.{name}", "imaging.formats.tiff.directory") for name in ("page", "source", "unpack")),
    *((f"imaging.formats.tiff.{name}", "imaging.formats.tiff.page") for name in ("samples", "source", "unpack")),
    *(("imaging.formats.tiff.source", f"imaging.formats.tiff.{name}") for name in ("samples", "unpack")),
    ("imaging.formats.bmp", "imaging.formats.bmp_run_lengths"),
    *(("storage.disk", f"storage.{name}") for name in ("base", "disk_entries", "files")),
    *(("storage.disk_entries", f"storage.{name}") for name in ("base", "files")),
    *((f"storage.{name}", "storage.base") for name in ("s3", "s3_client", "s3_errors", "s3_names", "s3_upload")),
    *((f"storage.{name}", "storage.s3_client") for name in ("s3", "s3_removal", "s3_upload")),
    *((f"storage.{name}", "storage.s3_errors") for name in ("s3", "s3_bodies", "s3_client", "s3_removal")),
    *((f"storage.{name}", "storage.s3_names") for name in ("s3", "s3_client")),
    *((f"storage.{name}", "storage.s3_metadata") for name in ("s3", "s3_upload")),
    ("storage.s3_upload", "storage.s3_errors"),
    *(("storage.s3", f"storage.s3_{name}") for name in ("bodies", "removal", "upload")),
    ("schemas", "field_types"),
    ("validation", "bodies"),
    ("validation", "schemas"),
    ("middleware", "logs"),
    ("middleware", "schemas"),
    ("monitoring.requests", "logs"),
    ("monitoring.requests", "middleware"),
    *((f"monitoring.{name}", "monitoring.requests") for name in ("metrics", "influx", "monitor")),
    *((f"monitoring.{name}", "monitoring.series") for name in ("metrics", "measured", "monitor")),
    *((f"monitoring.{name}", "monitoring.metrics") for name in ("measured", "slots", "monitor")),
    *(("monitoring.monitor", f"monitoring.{name}") for name in ("measured", "influx", "tracing")),
    ("monitoring.tracing", "logs"),
    *((f"resources.{name}", "resources.base") for name in ("buckets", "health", "images", "objects", "system")),
    ("server", "arbiter"),
    ("server", "workers"),
    ("workers", "connections"),
    *((f"tools.{name}", "tools.report") for name in ("exits", "listing")),
    ("tools.migrate", "tools.moving"),
    ("tools.verify", "tools.inspection"),
    ("tools.importing", "tools.taking"),
    ("tools.exporting", "tools.giving"),
    ("cli", "server"),
    ("cli", "tools.commands"),
}
PLACES = {
    "falcon": {module for module, number in NUMBERS.items() if number >= 5},
    "PIL": {module for module in NUMBERS if module.startswith("imaging.")},
    "boto3": {"storage.s3_client"},
    "botocore": {"storage.s3_client", "storage.s3_errors"},
    "gunicorn": {"arbiter", "connections", "server", "workers"},
    "marshmallow": {"settings", *(module for module, number in NUMBERS.items() if number >= 5)},
    "apispec": {"openapi"},
    "click": {"cli", "tools.commands"},
    "tqdm": {"tools.progress", "tools.report"},
    "fcntl": {"storage.disk", "monitoring.slots", "tools.exporting"},
    "prometheus_client": {"monitoring.metrics"},
    "influxdb_client": {"monitoring.influx"},
    "opentelemetry": {"monitoring.tracing"},
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "luna_image_store"


def imports(path):
    """List what a module imports, wherever in it, by full name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=module, level=0):
                for alias in node.names:
                    inner = ROOT.parent / f"{module}.{alias.name}".replace(".", "/")
                    is_module = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
                    yield f"{module}.{alias.name}" if is_module else module
            case ast.ImportFrom():
                yield "a relative import"


MODULES = {name_of(path): set(imports(path)) for path in ROOT.rglob("*.py")}


def ours(name):
    return name.removeprefix("luna_image_store.") if name.startswith("luna_image_store") else None


def test_every_module_has_a_layer_and_each_layer_only_modules_there_are():
    assert set(MODULES) == set(NUMBERS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_lower_layers(module):
    assert "a relative import" not in MODULES[module]
    for other in filter(None, map(ours, MODULES[module])):
        assert NUMBERS[other] < NUMBERS[module] or (module, other) in WITHIN_A_LAYER


def test_the_exceptions_are_all_needed_and_make_no_circle():
    for module, other in WITHIN_A_LAYER:
        assert f"luna_image_store.{other}" in MODULES[module]
        assert NUMBERS[module] == NUMBERS[other]
        assert (other, module) not in WITHIN_A_LAYER


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_used_in_its_place_only(library):
    users = {module for module, names in MODULES.items() if library in {name.partition(".")[0] for name in names}}
    assert users
    assert users <= PLACES[library]


def test_only_the_settings_read_the_environment():
    users = {name_of(path) for path in ROOT.rglob("*.py") if "environ" in attributes(path)}
    assert users == {"settings"}


def attributes(path):
    return {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
