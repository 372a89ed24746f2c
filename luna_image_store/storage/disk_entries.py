"""What lies below the root of a disk storage, records or not, seen without reading any of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from luna_image_store.storage.base import Entry, Key, Kind, is_id
from luna_image_store.storage.files import translated

OWN = {".lock", ".tmp", ".trash"}


def keys(place: str, kind: Kind) -> Iterator[Key]:
    """List the keys of one kind in a bucket, in the order of their ids."""
    with translated("list"):
        folder = f"{place}/{kind.folder}"
        for shard in filter(os.path.isdir, (f"{folder}/{name}" for name in sorted(os.listdir(folder)))):
            for name in sorted(os.listdir(shard)):
                path = f"{shard}/{name}"
                if (key := _key_of(path.removeprefix(f"{place}/"))) and os.path.isfile(path):
                    yield key


def in_bucket(place: str) -> Iterator[Entry]:
    """List all files of a bucket; directories count for nothing."""
    with translated("list"):
        for file in _files(place):
            name = file.path.removeprefix(f"{place}/")
            yield from _entry(file, name, _key_of(name) if file.is_file() else None)


def in_root(root: str, is_bucket: Callable[[str], bool]) -> Iterator[Entry]:
    """List what is neither a bucket nor the storage's own."""
    with translated("list"), os.scandir(root) as found:
        for entry in found:
            if entry.name not in OWN and not is_bucket(entry.name):
                yield from _entry(entry, entry.name)


def in_work(root: str) -> Iterator[Entry]:
    """List what is being written or removed, or once was."""
    for folder in (".tmp", ".trash"):
        with translated("list"), suppress(FileNotFoundError), os.scandir(f"{root}/{folder}") as found:
            for entry in found:
                yield from _entry(entry, f"{folder}/{entry.name}")


def _files(directory: str) -> Iterator["os.DirEntry[str]"]:
    """Go down into all directories, and follow no link to one."""
    with suppress(FileNotFoundError), os.scandir(directory) as found:  # deleted meanwhile, with its bucket
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry


def _entry(entry: "os.DirEntry[str]", name: str, key: Key | None = None) -> Iterator[Entry]:
    """Make an entry of what is there still."""
    with suppress(FileNotFoundError):
        status = entry.stat(follow_symlinks=key is not None)
        yield Entry(name, key, status.st_size, status.st_mtime)


def _key_of(name: str) -> Key | None:
    """Read the key from a path below a bucket; None where it is not a record's."""
    folder, _, rest = name.partition("/")
    shard, _, file = rest.partition("/")
    for kind in Kind:
        key = Key(kind, file.removesuffix(kind.ending))
        if kind.folder == folder and is_id(key.id) and shard == key.id[:2] and file == key.id + kind.ending:
            return key
    return None
