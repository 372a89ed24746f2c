"""Allowed imports between components, and of libraries, as listed in docs/architecture.md."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import luna_image_store

PACKAGE = luna_image_store.__name__
ROOT = Path(luna_image_store.__file__).parent
MANUAL = ROOT.parent / "docs" / "architecture.md"
MAY_IMPORT = {
    "errors": "",
    "setting_fields": "",
    "settings": "setting_fields",
    "content_types": "errors",
    "concurrency": "settings",
    "logs": "settings",
    "imaging": "errors",
    "storage": "errors settings concurrency",
    "services": "errors settings content_types imaging storage",
    "monitoring": "errors settings concurrency logs imaging storage.base storage.record",
    "http": "errors settings content_types logs services storage.base storage.probe monitoring",
    "commands": "errors settings content_types concurrency imaging storage services",
    "app": "errors settings concurrency logs imaging storage services monitoring http",
    "server": "errors settings concurrency logs imaging storage monitoring app",
    "wsgi": "app server",
    "cli": "settings imaging.pillow http commands server",
}
LIBRARIES = {
    "PIL": "imaging",
    "boto3": "storage.s3.client",
    "botocore": "storage.s3",
    "falcon": "http app",
    "marshmallow": "settings setting_fields http",
    "apispec": "http.openapi",
    "gunicorn": "server",
    "click": "cli commands",
    "tqdm": "commands.progress commands.report",
    "fcntl": "storage.disk commands.export",
    "prometheus_client": "monitoring.prometheus",
    "influxdb_client": "monitoring.influx",
    "opentelemetry": "monitoring.tracing",
}


def name_of(path):
    return ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")


def imports(path):
    """Yield the full names of all imports of a module, including imports in functions."""
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
OWN = {
    module: {name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")}
    for module, names in MODULES.items()
}


def is_in(module, places):
    return any(module == place or module.startswith(f"{place}.") for place in places.split())


@pytest.mark.parametrize("module", sorted(filter(None, MODULES)))
def test_a_module_imports_only_from_its_component_and_components_below(module):
    component = module.partition(".")[0]
    assert "a relative import" not in MODULES[module]
    assert component in MAY_IMPORT
    assert {other for other in OWN[module] if not is_in(other, f"{component} {MAY_IMPORT[component]}")} == set()


def test_the_manual_lists_these_components_from_top_to_bottom():
    block = MANUAL.read_text("utf-8").partition("<!-- rooms -->")[2].partition("<!-- /rooms -->")[0]
    listed = dict(re.findall(r"(?m)^(\w+) +->(.*)$", block))
    assert {component: set(below.split()) for component, below in listed.items()} == {
        component: set(below.split()) for component, below in MAY_IMPORT.items()
    }
    components = list(listed)
    for component, below in listed.items():
        assert all(components.index(other.partition(".")[0]) > components.index(component) for other in below.split()), component


def test_there_are_no_import_cycles():
    TopologicalSorter(OWN).prepare()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_in_its_component(library):
    users = {module for module, names in MODULES.items() if library in {name.partition(".")[0] for name in names}}
    assert users
    assert {user for user in users if not is_in(user, LIBRARIES[library])} == set()


def test_only_the_settings_read_the_environment():
    users = {name_of(path) for path in ROOT.rglob("*.py") if "environ" in attributes(path)}
    assert users == {"settings"}


def attributes(path):
    return {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
