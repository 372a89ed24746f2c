"""What lies below the root of a disk storage, records or not, seen without reading any of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter

from luna_image_store.storage.base import Key, Kind, ListingEntry, is_id
from luna_image_store.storage.disk.files import storage_errors

OWN = {".lock", ".tmp", ".trash"}


def keys(place: str, kind: Kind) -> Iterator[Key]:
    """List the keys of one kind in a bucket, in the order of their ids."""
    with _going_on() as faults:
        for shard in _listed(f"{place}/{kind.folder}", faults):
            for file in _listed(shard.path, faults):
                if (key := _key_of(file.path.removeprefix(f"{place}/"))) and _is_file(file):
                    yield key


def in_bucket(place: str) -> Iterator[ListingEntry]:
    """List all files of a bucket; directories count for nothing."""
    with _going_on() as faults:
        for file in _files(place, faults):
            name = file.path.removeprefix(f"{place}/")
            try:
                yield from _entry(file, name, _key_of(name) if _is_file(file) else None)
            except OSError as ex:
                faults.append(ex)


def in_root(root: str, is_bucket: Callable[[str], bool]) -> Iterator[ListingEntry]:
    """List what is neither a bucket nor the storage's own."""
    with storage_errors("list"), os.scandir(root) as found:
        for entry in found:
            if entry.name not in OWN and not is_bucket(entry.name):
                yield from _entry(entry, entry.name)


def in_work(root: str) -> Iterator[ListingEntry]:
    """List what is being written or removed, or once was."""
    for folder in (".tmp", ".trash"):
        with storage_errors("list"), suppress(FileNotFoundError), os.scandir(f"{root}/{folder}") as found:
            for entry in found:
                yield from _entry(entry, f"{folder}/{entry.name}")


@contextmanager
def _going_on() -> Iterator[list[OSError]]:
    """Gather the directories that can't be listed; raise StorageUnavailable when all others have been."""
    faults: list[OSError] = []
    with storage_errors("list"):
        yield faults
        if faults:
            more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            raise OSError(faults[0].errno, f"{faults[0]}{more}") from faults[0]


def _listed(directory: str, faults: list[OSError]) -> "list[os.DirEntry[str]]":
    """List a directory in the order of names; none where it is no directory, or was deleted meanwhile, with its bucket."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as found:
            return sorted(found, key=attrgetter("name"))
    except OSError as ex:
        faults.append(ex)
    return []


def _files(directory: str, faults: list[OSError]) -> Iterator["os.DirEntry[str]"]:
    """Go down into all directories, and follow no link to one."""
    for entry in _listed(directory, faults):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, faults)
        else:
            yield entry


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Tell whether it is a file or leads to one; a link may go in circles."""
    return entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)


def _entry(entry: "os.DirEntry[str]", name: str, key: Key | None = None) -> Iterator[ListingEntry]:
    """Make an entry of what is there still."""
    with suppress(FileNotFoundError):
        status = entry.stat(follow_symlinks=key is not None)
        yield ListingEntry(name, key, status.st_size, status.st_mtime)


def _key_of(name: str) -> Key | None:
    """Read the key from a path below a bucket; None where it is not a record's."""
    folder, _, rest = name.partition("/")
    shard, _, file = rest.partition("/")
    for kind in Kind:
        key = Key(kind, file.removesuffix(kind.ending))
        if kind.folder == folder and is_id(key.id) and shard == key.id[:2] and file == key.id + kind.ending:
            return key
    return None
