"""Operations on images and objects: create, replace, read and delete, with previews and a check of the account.

Accounts: a record without an owner is open to all accounts. If a record has an owner, a request with another account gets
"not found". A request without an account has access to all records.
"""

import logging
from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Semaphore
from typing import ClassVar
from uuid import uuid4

from luna_image_store.content_types import OBJECT_ENDINGS, media_type, validate_body
from luna_image_store.errors import BadImage, OwnerMismatch, RecordDamaged, RecordNotFound, ServiceError
from luna_image_store.imaging.render import PREVIEW_SIZES, RENDERER, RenderedImage, Renderer, RenderSettings
from luna_image_store.settings import ImageSettings
from luna_image_store.storage.base import Key, Kind, MemoryPayload, Payload, Storage, StoredRecord, UnreadPayload
from luna_image_store.storage.record import BadRecord, Index, NewRecord, etag_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content and headers for a response to GET or HEAD."""

    content_type: str
    etag: str
    modified: datetime
    payload: Payload
    meta: Mapping[str, str] = field(default_factory=dict)
    filename: str | None = None


class RecordService(ABC):
    """The operations that images and objects have in common."""

    kind: ClassVar[Kind]

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, bucket: str, record_id: str, account_id: str | None) -> StoredContent:
        """Return a record with an open payload. The caller must close the payload."""
        stored = self._storage.open(bucket, self._key(record_id))
        self._check_account(record_id, stored.index, account_id)
        return self._content(record_id, stored.index, stored.payload)

    def head(self, bucket: str, record_id: str, account_id: str | None) -> StoredContent:
        """Return the same as `get`, with a payload that cannot be read."""
        index = self._storage.head(bucket, self._key(record_id))
        self._check_account(record_id, index, account_id)
        return self._content(record_id, index, UnreadPayload(index.payload.length))

    def delete(self, bucket: str, record_id: str, account_id: str | None) -> None:
        """Delete one record."""
        key = self._key(record_id)
        if account_id:
            self._check_account(record_id, self._storage.head(bucket, key), account_id)
            self._storage.delete_many(bucket, [key])  # unlike `delete`, it does not check again that the record exists
        else:
            self._storage.delete(bucket, key)

    def delete_many(self, bucket: str, record_ids: Iterable[str], account_id: str | None) -> None:
        """Delete the records. Skip missing records and, if an account is given, the records of other accounts."""
        keys = [self._key(record_id) for record_id in dict.fromkeys(record_ids)]
        if account_id:
            found = self._storage.head_many(bucket, keys)  # a damaged record is not deleted: its owner is unknown
            keys = [key for key, index in found.items() if index.account_id in (None, account_id)]
        self._storage.delete_many(bucket, keys)

    def _key(self, record_id: str) -> Key:
        return Key(self.kind, record_id)

    def _content(self, record_id: str, index: Index, payload: Payload) -> StoredContent:
        modified = datetime.fromtimestamp(int(index.created), UTC)
        return StoredContent(index.content_type, index.etag, modified, payload, index.meta)

    def _check_account(self, record_id: str, index: Index, account_id: str | None) -> None:
        """Raise ImageNotFound or ObjectNotFound if the record belongs to another account."""
        if account_id and index.account_id not in (None, account_id):
            raise self._key(record_id).not_found()

    def _owner_for_replace(self, bucket: str, record_id: str, account_id: str | None) -> str | None:
        """Return the owner of a record after a replacement. Raise OwnerMismatch if it belongs to another account.

        Any account may replace a damaged record, because its owner cannot be read.
        """
        try:
            owner = self._storage.head(bucket, self._key(record_id)).account_id
        except (RecordNotFound, RecordDamaged):
            return account_id
        if owner and account_id not in (None, owner):
            raise OwnerMismatch(record_id)
        return owner or account_id


class ImageService(RecordService):
    """Operations on images and their previews."""

    kind = Kind.IMAGE
    preview_sizes = PREVIEW_SIZES

    def __init__(self, storage: Storage, rendering: RenderSettings, decodes: int, renderer: Renderer = RENDERER) -> None:
        """Create the service. `decodes` is the maximum number of images that it decodes at the same time."""
        super().__init__(storage)
        self._rendering = rendering
        self._renderer = renderer
        self._decoding = Semaphore(decodes)

    def create(self, bucket: str, data: bytes, account_id: str | None, meta: Mapping[str, str]) -> str:
        """Store an image under a new id. Return the id."""
        image_id = str(uuid4())
        self._save(bucket, image_id, self._render(data), account_id, meta)
        return image_id

    def replace(self, bucket: str, image_id: str, data: bytes, account_id: str | None, meta: Mapping[str, str]) -> None:
        """Store an image under the given id. Replace an existing image."""
        image = self._render(data)
        self._save(bucket, image_id, image, self._owner_for_replace(bucket, image_id, account_id), meta)

    def preview(self, bucket: str, image_id: str, size: int) -> StoredContent:
        """Return a preview. Render it if the record has no intact preview of this size."""
        key = self._key(image_id)
        index, data = self._storage.preview(bucket, key, size)
        if data is None:
            data = self._render_preview(bucket, key, size)
        content = self._content(image_id, index, MemoryPayload(data))
        return replace(content, etag=etag_of(data), meta={})

    def _render_preview(self, bucket: str, key: Key, size: int) -> bytes:
        """Render a preview from the stored image. Raise RecordDamaged on failure: a stored image has been decoded before."""
        stored = self._storage.open(bucket, key)
        try:
            jpeg = _read(stored)
            with self._decoding:
                return self._renderer.preview(jpeg, size, self._rendering)
        except (BadRecord, BadImage) as ex:
            logger.error("damaged record: images %s in bucket %s: %s", key.id, bucket, ex)
            raise RecordDamaged(key.id) from ex

    def _render(self, data: bytes) -> RenderedImage:
        with self._decoding:
            return self._renderer.render(data, self._rendering)

    def _save(self, bucket: str, image_id: str, image: RenderedImage, account_id: str | None, meta: Mapping[str, str]) -> None:
        draft = NewRecord("image/jpeg", account_id, meta, image.size, image.previews)
        self._storage.put(bucket, self._key(image_id), draft, (image.jpeg,))


class ObjectService(RecordService):
    """Operations on objects. Payloads are stored unchanged and streamed in both directions."""

    kind = Kind.OBJECT

    def create(self, bucket: str, content_type: str, chunks: Iterable[bytes], account_id: str | None) -> str:
        """Store an object under a new id. Return the id."""
        object_id = str(uuid4())
        body = validate_body(content_type, chunks)
        self._storage.put(bucket, self._key(object_id), NewRecord(content_type, account_id), body)
        return object_id

    def replace(self, bucket: str, object_id: str, content_type: str, chunks: Iterable[bytes], account_id: str | None) -> None:
        """Store an object under the given id. Replace an existing object."""
        body = validate_body(content_type, chunks)
        try:
            owner = self._owner_for_replace(bucket, object_id, account_id)
        except ServiceError:
            for _ in body:  # an error in the body has priority
                pass
            raise
        self._storage.put(bucket, self._key(object_id), NewRecord(content_type, owner), body)

    def _content(self, record_id: str, index: Index, payload: Payload) -> StoredContent:
        if (ending := OBJECT_ENDINGS.get(media_type(index.content_type))) is None:
            raise RecordDamaged(record_id)
        return replace(super()._content(record_id, index, payload), filename=f"{record_id}.{ending}")


def render_settings(images: ImageSettings) -> RenderSettings:
    """Return the settings of the renderer."""
    return RenderSettings(images.jpeg_quality, images.preview_quality, images.background, images.max_pixels)


def _read(stored: StoredRecord) -> bytes:
    """Return a complete payload. Raise BadRecord if its checksum is wrong. Payloads in memory have been checked already."""
    return stored.payload.data or stored.index.payload.check(b"".join(stored.payload.chunks()), "the payload")
