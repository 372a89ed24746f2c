"""The base class of the resources."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from luna_image_store.services import ImageService, ObjectService
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Storage
from luna_image_store.storage.probe import CachedProbe


@dataclass(frozen=True, slots=True)
class Services:
    """The services and settings that resources use.

    `openapi` returns the OpenAPI document as YAML. The service drains while `drain_file` exists. `manual` is the directory of
    the manual.
    """

    settings: Settings
    storage: Storage
    images: ImageService
    objects: ObjectService
    openapi: Callable[[], str]
    health: CachedProbe
    drain_file: Path
    manual: Path


class Resource:
    """Base of all resources."""

    tag: str

    def __init__(self, services: Services) -> None:
        self._services = services
