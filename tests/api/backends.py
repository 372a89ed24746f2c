"""The storages for the tests of the interface. A test runs on all storages unless it has the mark ON_DISK or ON_S3."""

import pytest

S3 = pytest.param("s3", marks=pytest.mark.moto)
ALL = ("disk", S3)
ON_DISK = pytest.mark.parametrize("backend", ["disk"], indirect=True)
ON_S3 = pytest.mark.parametrize("backend", [S3], indirect=True)
