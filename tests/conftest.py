import os
import signal
import subprocess
from collections.abc import Mapping, Set

import hypothesis
import pytest

from luna_image_store.settings import load
from luna_image_store.storage.disk.backend import DiskStorage
from luna_image_store.storage.s3.backend import S3Storage
from tests import moto_server
from tests.scripted_s3 import ScriptedServer

from .swift import Swift

# A shell ignores SIGINT for processes in the background. The commands that tests interrupt would inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("no deadline", deadline=None)  # a slow test is not a failure
hypothesis.settings.load_profile("no deadline")


def pytest_make_parametrize_id(val):
    """Return the id of a value that pytest would only number, or print in full."""
    return _shortened(_name_of(val)) if isinstance(val, (str, bytes, Mapping, tuple, list, Set)) else None


def _name_of(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return ", ".join(f"{_name_of(key)}={_name_of(item)}" for key, item in value.items()) or "none"
    if isinstance(value, Set):
        value = sorted(value, key=str)  # all processes of a test run need the same ids
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_name_of, value)) or "none"
    return getattr(value, "__name__", None) or str(value)


def _shortened(name):
    escaped = name.encode("unicode_escape").decode() or "empty"
    return escaped if len(escaped) <= 60 else f"{escaped[:40]}... ({len(name)} long)"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "storage"


@pytest.fixture
def storage(root):
    return DiskStorage(str(root))


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    with moto_server.running(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def storage_on_moto(moto):
    return S3Storage(load(environ=moto.settings()).s3, threads=8)


@pytest.fixture
def s3(moto):
    """Return an S3 service without buckets."""
    moto.clear()
    return moto


@pytest.fixture(scope="module")
def scripted_server():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def cannot_run():
    """Return a function that skips a test that this machine cannot run. In CI, it fails the test."""
    return pytest.fail if os.environ.get("CI") == "true" else pytest.skip


@pytest.fixture
def small_disk(tmp_path, cannot_run):
    """Mount a file system of 4 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=100", "tmpfs", path], capture_output=True).returncode:
        cannot_run("this user cannot mount a file system")
    yield path
    while path.is_mount():
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture(scope="session")
def swift(tmp_path_factory):
    """Start an S3 server for all tests."""
    with Swift(tmp_path_factory.mktemp("swift")) as swift:
        yield swift
