"""What every resource is handed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from luna_image_store.services import ImageService, ObjectService
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Storage
from luna_image_store.storage.probe import CachedProbe


@dataclass(frozen=True, slots=True)
class Services:
    """What the resources work with.

    `openapi` gives the OpenAPI document as YAML; the service drains while `drain_file` exists; the manual is in `manual`.
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
