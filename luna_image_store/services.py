"""What an image and an object are: ids, keys, owners, metadata, previews, deletion by many.

Accounts: a record stored without one is open to all. One that has an owner looks missing to a request that names another
account; a request that names none is let through.
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
    """What a client is sent."""

    content_type: str
    etag: str
    modified: datetime
    payload: Payload
    meta: Mapping[str, str] = field(default_factory=dict)
    filename: str | None = None


class RecordService(ABC):
    """What images and objects have in common."""

    kind: ClassVar[Kind]

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, bucket: str, record_id: str, account_id: str | None) -> StoredContent:
        """Open a record for reading."""
        stored = self._storage.open(bucket, self._key(record_id))
        self._admit(record_id, stored.index, account_id)
        return self._content(record_id, stored.index, stored.payload)

    def head(self, bucket: str, record_id: str, account_id: str | None) -> StoredContent:
        """Give what `get` would, without the payload."""
        index = self._storage.head(bucket, self._key(record_id))
        self._admit(record_id, index, account_id)
        return self._content(record_id, index, UnreadPayload(index.payload.length))

    def delete(self, bucket: str, record_id: str, account_id: str | None) -> None:
        """Remove one record."""
        key = self._key(record_id)
        if account_id:
            self._admit(record_id, self._storage.head(bucket, key), account_id)
            self._storage.delete_many(bucket, [key])  # it is there: no need for the storage to look again
        else:
            self._storage.delete(bucket, key)

    def delete_many(self, bucket: str, record_ids: Iterable[str], account_id: str | None) -> None:
        """Remove those of the records that exist and are not another account's."""
        keys = [self._key(record_id) for record_id in dict.fromkeys(record_ids)]
        if account_id:
            found = self._storage.head_many(bucket, keys)  # a damaged one has no known owner: it is kept, and logged
            keys = [key for key, index in found.items() if index.account_id in (None, account_id)]
        self._storage.delete_many(bucket, keys)

    def _key(self, record_id: str) -> Key:
        return Key(self.kind, record_id)

    def _content(self, record_id: str, index: Index, payload: Payload) -> StoredContent:
        modified = datetime.fromtimestamp(int(index.created), UTC)
        return StoredContent(index.content_type, index.etag, modified, payload, index.meta)

    def _admit(self, record_id: str, index: Index, account_id: str | None) -> None:
        """Let another account's record look missing."""
        if account_id and index.account_id not in (None, account_id):
            raise self._key(record_id).not_found()

    def _owner(self, bucket: str, record_id: str, account_id: str | None) -> str | None:
        """Find who owns a record once it is replaced. A damaged one may be replaced by anybody: that mends it."""
        try:
            owner = self._storage.head(bucket, self._key(record_id)).account_id
        except (RecordNotFound, RecordDamaged):
            return account_id
        if owner and account_id not in (None, owner):
            raise OwnerMismatch(record_id)
        return owner or account_id


class ImageService(RecordService):
    """Pictures with their previews."""

    kind = Kind.IMAGE
    preview_sizes = PREVIEW_SIZES

    def __init__(self, storage: Storage, rendering: RenderSettings, decodes: int, renderer: Renderer = RENDERER) -> None:
        """Make the service; it decodes so many pictures at a time, however many threads there are."""
        super().__init__(storage)
        self._rendering = rendering
        self._renderer = renderer
        self._decoding = Semaphore(decodes)

    def create(self, bucket: str, data: bytes, account_id: str | None, meta: Mapping[str, str]) -> str:
        """Store a picture under a new id, and give the id."""
        image_id = str(uuid4())
        self._save(bucket, image_id, self._render(data), account_id, meta)
        return image_id

    def replace(self, bucket: str, image_id: str, data: bytes, account_id: str | None, meta: Mapping[str, str]) -> None:
        """Store a picture under a given id, in place of the one that is there."""
        picture = self._render(data)
        self._save(bucket, image_id, picture, self._owner(bucket, image_id, account_id), meta)

    def preview(self, bucket: str, image_id: str, size: int) -> StoredContent:
        """Give a preview, made on the spot where none of this size is stored whole."""
        key = self._key(image_id)
        index, data = self._storage.preview(bucket, key, size)
        if data is None:
            data = self._make_preview(bucket, key, size)
        content = self._content(image_id, index, MemoryPayload(data))
        return replace(content, etag=etag_of(data), meta={})

    def _make_preview(self, bucket: str, key: Key, size: int) -> bytes:
        """Render a preview from the stored picture. What can't be rendered any more is damaged: it could when it was stored."""
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

    def _save(self, bucket: str, image_id: str, picture: RenderedImage, account_id: str | None, meta: Mapping[str, str]) -> None:
        draft = NewRecord("image/jpeg", account_id, meta, picture.size, picture.previews)
        self._storage.put(bucket, self._key(image_id), draft, (picture.jpeg,))


class ObjectService(RecordService):
    """Objects as they came, streamed both ways."""

    kind = Kind.OBJECT

    def create(self, bucket: str, content_type: str, chunks: Iterable[bytes], account_id: str | None) -> str:
        """Store an object under a new id, and give the id."""
        object_id = str(uuid4())
        body = validate_body(content_type, chunks)
        self._storage.put(bucket, self._key(object_id), NewRecord(content_type, account_id), body)
        return object_id

    def replace(self, bucket: str, object_id: str, content_type: str, chunks: Iterable[bytes], account_id: str | None) -> None:
        """Store an object under a given id, in place of the one that is there."""
        body = validate_body(content_type, chunks)
        try:
            owner = self._owner(bucket, object_id, account_id)
        except ServiceError:
            for _ in body:  # what is wrong with the body is told first
                pass
            raise
        self._storage.put(bucket, self._key(object_id), NewRecord(content_type, owner), body)

    def _content(self, record_id: str, index: Index, payload: Payload) -> StoredContent:
        if (ending := OBJECT_ENDINGS.get(media_type(index.content_type))) is None:
            raise RecordDamaged(record_id)
        return replace(super()._content(record_id, index, payload), filename=f"{record_id}.{ending}")


def render_settings(images: ImageSettings) -> RenderSettings:
    """Read from the settings how images are rendered."""
    return RenderSettings(images.jpeg_quality, images.preview_quality, images.background, images.max_pixels)


def _read(stored: StoredRecord) -> bytes:
    """Read a whole payload, or raise BadRecord where it is not what was stored; one in memory has been checked already."""
    return stored.payload.data or stored.index.payload.check(b"".join(stored.payload.chunks()), "the payload")
