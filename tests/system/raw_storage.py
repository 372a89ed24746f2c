"""Direct access to the storage of a service, without the service: files below its root, or S3 objects."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..swift import Account


class RawStorage(ABC):
    """The storage of a service. `settings`: the settings of the service for it."""

    settings: Mapping[str, object]

    @abstractmethod
    def ids(self, kind: str = "images") -> list[str]:
        """Return the ids of the records of all buckets."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return the names of unfinished saves, which are invisible to clients."""

    @abstractmethod
    def get(self, bucket: str, name: str) -> bytes:
        """Read a file or S3 object with a name such as `images/<id>.jpg`."""

    @abstractmethod
    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write a file or S3 object without the service."""

    @abstractmethod
    def add_leftover(self, bucket: str) -> None:
        """Create the leftover of an interrupted save."""

    def change(self, bucket: str, name: str, change: Callable[[bytes], bytes]) -> None:
        self.put(bucket, name, change(self.get(bucket, name)))


class RawDisk(RawStorage):
    """A storage on a disk: files below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = {"LOCAL_STORAGE__PATH": root}

    def ids(self, kind: str = "images") -> list[str]:
        return sorted(path.stem for path in self.root.glob(f"*/{kind}/??/*") if path.is_file())

    def leftovers(self) -> list[str]:
        return [path.name for path in (self.root / ".tmp").iterdir()]

    def get(self, bucket: str, name: str) -> bytes:
        return self._path(bucket, name).read_bytes()

    def put(self, bucket: str, name: str, data: bytes) -> None:
        path = self._path(bucket, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def add_leftover(self, bucket: str) -> None:
        (self.root / ".tmp/unfinished").write_bytes(b"half")

    def _path(self, bucket: str, name: str) -> Path:
        folder, _, file = name.rpartition("/")
        return self.root / bucket / folder / (file[:2] if folder else "") / file


class RawS3(RawStorage):
    """A storage on S3: objects in the buckets of an account. `endpoint`: the proxy that the service connects to, if any."""

    def __init__(self, account: Account, endpoint: str | None = None) -> None:
        self.client = account.client()
        self.settings = (account.with_endpoint(endpoint) if endpoint else account).settings()

    def names(self, bucket: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, bucket: str, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=bucket, Key=name)["Body"].read())

    def get(self, bucket: str, name: str) -> bytes:
        return self.read(bucket, name)

    def put(self, bucket: str, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=name, Body=data)

    def add_leftover(self, bucket: str) -> None:
        self.client.create_multipart_upload(Bucket=bucket, Key=f"objects/{uuid4()}")

    def ids(self, kind: str = "images") -> list[str]:
        names = (name for bucket in self._buckets() for name in self.names(bucket) if name.startswith(f"{kind}/"))
        return sorted(Path(name).stem for name in names)

    def leftovers(self) -> list[str]:
        return [upload["Key"] for bucket in self._buckets() for upload in self._uploads(bucket)]

    def fill(self, bucket: str, count: int) -> None:
        """Store many empty objects in a bucket."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda number: self.client.put_object(Bucket=bucket, Key=f"objects/{number}", Body=b""), range(count)))

    def abort_uploads(self) -> None:
        for bucket in self._buckets():
            for upload in self._uploads(bucket):
                self.client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def _buckets(self) -> list[str]:
        return [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]

    def _uploads(self, bucket: str) -> Iterator[Any]:
        yield from self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
