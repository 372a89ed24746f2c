"""The back ends that the interface is tested on; every test runs on each, unless it says that it is about one."""

import pytest

S3 = pytest.param("s3", marks=pytest.mark.moto)
ALL = ("disk", S3)
ON_DISK = pytest.mark.parametrize("backend", ["disk"], indirect=True)
ON_S3 = pytest.mark.parametrize("backend", [S3], indirect=True)
