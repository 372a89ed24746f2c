from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .raw_storage import RawDisk, RawS3, RawStorage
from .service import Service

Start = Callable[..., Service]
on_disk_and_s3 = pytest.mark.parametrize("storage", ["disk", "s3"], indirect=True)


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> RawStorage:
    """Return the storage of the services of a test: a disk, or S3 if the test is parametrized with it."""
    if getattr(request, "param", "disk") == "disk":
        return RawDisk(tmp_path / "storage")
    return RawS3(request.getfixturevalue("swift").fresh_account())


@pytest.fixture
def start(tmp_path: Path, storage: RawStorage) -> Iterator[Start]:
    """Return a function that starts a service, with settings such as HTTP__WORKERS=1. Stop the services after the test."""
    with ExitStack() as stack:

        def start_one(*command: str, **settings: object) -> Service:
            service = Service(tmp_path, storage, **settings)
            stack.callback(service.end)
            return service.start(*command)

        yield start_one


@pytest.fixture
def service(start: Start) -> Service:
    """Start a service with the default settings, and create a bucket."""
    service = start()
    service.make_bucket()
    return service
