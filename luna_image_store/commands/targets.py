"""Storages of a command: the storage of a settings file, or `disk:PATH`."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from luna_image_store.concurrency import is_on_s3
from luna_image_store.settings import PREFIX, Settings, SettingsError, load
from luna_image_store.storage.base import Storage
from luna_image_store.storage.disk.files import FILE_MASK
from luna_image_store.storage.factory import create_storage

ON_DISK = "disk:"


def load_target(side: str, place: str) -> Settings:
    """Load the settings of a side, SRC or DST. Raise SettingsError if they are invalid.

    Each side has its own environment variables, because the variables of a service do not distinguish the sides.
    """
    if not place:
        raise SettingsError(f"{side} is empty: give a settings file or disk:PATH")
    try:
        if place.startswith(ON_DISK):
            return load(environ={f"{PREFIX}LOCAL_STORAGE__PATH": place.removeprefix(ON_DISK)})
        return load(place, prefix=f"LUNA_IMAGE_STORE_{side}__")
    except SettingsError as ex:
        raise SettingsError(f"{side}: {ex}") from ex


def open_storage(settings: Settings, threads: int, read_only: bool = False) -> Storage:
    """Open a storage for a number of threads. With `read_only`, change nothing in it.

    Log nothing, because the command reports the errors.
    """
    logging.getLogger("luna_image_store").setLevel(logging.CRITICAL)
    os.umask(FILE_MASK)
    return create_storage(replace(settings, http=replace(settings.http, threads=threads)), read_only)


def check_exists(settings: Settings) -> None:
    """Raise SettingsError if the directory does not exist. Opening the storage would create it."""
    if not is_on_s3(settings) and not os.path.isdir(path := _path(settings)):
        raise SettingsError(f"LOCAL_STORAGE.PATH: {path} is not a directory")


def check_writable(settings: Settings) -> None:
    """Raise SettingsError if the service could not read or delete new files: it runs as the owner of the directory."""
    check_exists(settings)
    if not is_on_s3(settings) and (owner := os.stat(path := _path(settings)).st_uid) != os.geteuid():
        raise SettingsError(f"LOCAL_STORAGE.PATH: {path} belongs to another user: run this command as the user with id {owner}")


def choose_buckets(storage: Storage, named: tuple[str, ...]) -> list[str]:
    """Return the named buckets, or all buckets if `named` is empty. Raise SettingsError if one does not exist."""
    existing = storage.list_buckets()
    if missing := sorted(set(named) - set(existing)):
        raise SettingsError(f"no such bucket: {', '.join(missing)}")
    return sorted(set(named)) or existing


def storage_identity(settings: Settings) -> Mapping[str, Any]:
    """Return the settings that identify a storage: equal for the same storage."""
    if is_on_s3(settings):
        return {key: getattr(settings.s3, key) for key in ("endpoint_url", "region", "access_key_id")}
    return {"PATH": os.path.realpath(_path(settings))}


def _path(settings: Settings) -> str:
    return settings.local_storage.path
