"""The back ends that the interface is tested on; every test runs on each, unless it says that it is about one."""

import pytest

ALL = ("disk", "s3")
ON_DISK = pytest.mark.parametrize("backend", ["disk"], indirect=True)
ON_S3 = pytest.mark.parametrize("backend", ["s3"], indirect=True)
