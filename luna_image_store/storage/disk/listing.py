"""Listings of the files under the root of a disk storage. No file is read."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter

from luna_image_store.storage.base import Key, Kind, ListingEntry, is_id
from luna_image_store.storage.disk.files import storage_errors

RESERVED_NAMES = {".lock", ".tmp", ".trash"}


def keys(bucket_path: str, kind: Kind) -> Iterator[Key]:
    """Yield the keys of one kind in a bucket, sorted by id."""
    with _collected_errors() as errors:
        for shard in _sorted_entries(f"{bucket_path}/{kind.folder}", errors):
            for file in _sorted_entries(shard.path, errors):
                if (key := _key_of(file.path.removeprefix(f"{bucket_path}/"))) and _is_file(file):
                    yield key


def entries(bucket_path: str) -> Iterator[ListingEntry]:
    """Yield all files of a bucket, without directories."""
    with _collected_errors() as errors:
        for file in _walk(bucket_path, errors):
            name = file.path.removeprefix(f"{bucket_path}/")
            try:
                yield from _listing_entry(file, name, _key_of(name) if _is_file(file) else None)
            except OSError as ex:
                errors.append(ex)


def strays(root: str, is_bucket: Callable[[str], bool]) -> Iterator[ListingEntry]:
    """Yield the entries of the root that are neither buckets nor reserved names."""
    with storage_errors("list"), os.scandir(root) as found:
        for entry in found:
            if entry.name not in RESERVED_NAMES and not is_bucket(entry.name):
                yield from _listing_entry(entry, entry.name)


def leftovers(root: str) -> Iterator[ListingEntry]:
    """Yield the contents of .tmp and .trash."""
    for folder in (".tmp", ".trash"):
        with storage_errors("list"), suppress(FileNotFoundError), os.scandir(f"{root}/{folder}") as found:
            for entry in found:
                yield from _listing_entry(entry, f"{folder}/{entry.name}")


@contextmanager
def _collected_errors() -> Iterator[list[OSError]]:
    """Collect the errors of directories. Raise StorageUnavailable after all other directories are listed."""
    errors: list[OSError] = []
    with storage_errors("list"):
        yield errors
        if errors:
            more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
            raise OSError(errors[0].errno, f"{errors[0]}{more}") from errors[0]


def _sorted_entries(directory: str, errors: list[OSError]) -> "list[os.DirEntry[str]]":
    """Return the sorted entries of a directory. Return none if it was deleted or is not a directory."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as found:
            return sorted(found, key=attrgetter("name"))
    except OSError as ex:
        errors.append(ex)
    return []


def _walk(directory: str, errors: list[OSError]) -> Iterator["os.DirEntry[str]"]:
    """Yield the files in a directory and its subdirectories. Do not follow links to directories."""
    for entry in _sorted_entries(directory, errors):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, errors)
        else:
            yield entry


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a file or a link to one. For a loop of links, `isfile` returns False."""
    return entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)


def _listing_entry(entry: "os.DirEntry[str]", name: str, key: Key | None = None) -> Iterator[ListingEntry]:
    """Yield an entry, unless the file was deleted in the meantime."""
    with suppress(FileNotFoundError):
        status = entry.stat(follow_symlinks=key is not None)
        yield ListingEntry(name, key, status.st_size, status.st_mtime)


def _key_of(name: str) -> Key | None:
    """Return the key of a path below a bucket, or None if it is not the path of a record."""
    folder, _, rest = name.partition("/")
    shard, _, file = rest.partition("/")
    for kind in Kind:
        key = Key(kind, file.removesuffix(kind.ending))
        if kind.folder == folder and is_id(key.id) and shard == key.id[:2] and file == key.id + kind.ending:
            return key
    return None
