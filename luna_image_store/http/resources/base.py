"""What every resource is handed."""

from collections.abc import Callable
from dataclasses import dataclass

from luna_image_store.phase import SharedPhase
from luna_image_store.services import ImageService, ObjectService
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Storage
from luna_image_store.storage.probe import Health


@dataclass(frozen=True, slots=True)
class Services:
    """What the resources work with; `openapi` gives the OpenAPI document as YAML."""

    settings: Settings
    storage: Storage
    images: ImageService
    objects: ObjectService
    openapi: Callable[[], str]
    health: Health
    phase: SharedPhase


class Resource:
    """Base of all resources."""

    tag: str

    def __init__(self, services: Services) -> None:
        self._services = services
