from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .kept import Kept, OnDisk, OnS3
from .service import Service

Start = Callable[..., Service]
on_disk_and_s3 = pytest.mark.parametrize("kept", ["disk", "s3"], indirect=True)


@pytest.fixture
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """Return the storage of the services of a test: a disk, or S3 if the test is parametrized with it."""
    if getattr(request, "param", "disk") == "disk":
        return OnDisk(tmp_path / "storage")
    return OnS3(request.getfixturevalue("swift").fresh_account())


@pytest.fixture
def start(tmp_path: Path, kept: Kept) -> Iterator[Start]:
    """Return a function that starts a service, with settings such as HTTP__WORKERS=1. Stop the services after the test."""
    with ExitStack() as stack:

        def start_one(*command: str, **settings: object) -> Service:
            service = Service(tmp_path, kept, **settings)
            stack.callback(service.end)
            return service.start(*command)

        yield start_one


@pytest.fixture
def service(start: Start) -> Service:
    """Start a service with the default settings, and create a bucket."""
    service = start()
    service.make_bucket()
    return service
