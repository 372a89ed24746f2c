"""Checks one record, and repairs its previews."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from sys import maxsize

from luna_image_store.content_types import validate_body
from luna_image_store.errors import BadImage, BodyMismatch, BucketNotFound, RecordDamaged, RecordNotFound, ServiceError
from luna_image_store.imaging.render import RenderSettings, preview, render
from luna_image_store.storage.base import Key, Kind, Storage, StoredRecord
from luna_image_store.storage.record import INDEX, PAYLOAD, Index, check_parts, with_previews

TEST_SIZE = 32  # pixels: decoding an image for this preview takes the least memory

Problems = dict[str, str]  # name of a part: its problem


class RecordState(StrEnum):
    """Result of one record. The value is the key in the summary."""

    VALID = "good"
    REPAIRED = "repaired"
    DAMAGED = "damaged"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one record. `problems` are in the order of its parts."""

    bucket: str
    key: Key
    state: RecordState
    length: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)


class Inspector:
    """Checks records. With `repair`, renders damaged previews again."""

    def __init__(self, storage: Storage, rendering: RenderSettings, deep: bool, repair: bool) -> None:
        self._storage = storage
        self._rendering = replace(rendering, max_pixels=maxsize)  # the limit applies to uploads, not to stored images
        self._deep, self._repair = deep, repair

    def __call__(self, bucket: str, key: Key) -> Finding:
        """Check a record. A record that was deleted after it was listed is not a problem."""
        try:
            return self._inspect(bucket, key)
        except (BucketNotFound, RecordNotFound):
            return Finding(bucket, key, RecordState.GONE)
        except RecordDamaged as ex:
            return Finding(bucket, key, RecordState.DAMAGED, problems={INDEX: str(ex.__cause__)})
        except ServiceError as ex:
            return Finding(bucket, key, RecordState.FAILED, problems={"": f"{ex.spec.desc}: {ex.__cause__ or ex}"})

    def _inspect(self, bucket: str, key: Key) -> Finding:
        problems: Problems = {}
        index, chunks = self._storage.read(bucket, key)
        checked = check_parts(index, chunks, problems.setdefault)
        if key.kind is Kind.IMAGE and (self._deep or self._repair):
            parts = _split(index, b"".join(checked))
            if self._deep:
                self._decode(parts, problems)
            if problems and self._repair and problems.keys() <= parts.keys() - {PAYLOAD}:
                return self._repair_previews(bucket, key, index, parts, problems)
        else:
            deque(checked, maxlen=0)
            if self._deep and not problems:
                _check_type(self._storage.open(bucket, key), problems)
        return Finding(bucket, key, RecordState.DAMAGED if problems else RecordState.VALID, index.length(), problems)

    def _decode(self, parts: Mapping[str, bytes], problems: Problems) -> None:
        """Decode the payload and the previews of an image, except parts that already have a problem."""
        for name in parts.keys() - problems.keys():
            try:
                preview(parts[name], TEST_SIZE, self._rendering)
            except BadImage:
                problems[name] = f"{name} cannot be decoded"

    def _repair_previews(self, bucket: str, key: Key, index: Index, parts: Mapping[str, bytes], problems: Problems) -> Finding:
        """Render the damaged previews again. If a client replaced the record in the meantime, check the new record."""
        try:
            rendered = render(parts[PAYLOAD], self._rendering).previews
        except BadImage:
            problems[PAYLOAD] = f"{PAYLOAD} cannot be decoded"
            return Finding(bucket, key, RecordState.DAMAGED, index.length(), problems)
        previews = {size: rendered[size] if name in problems else parts[name] for size, name in _preview_names(index)}
        record = with_previews(index, parts[PAYLOAD], previews)
        if not self._storage.replace(bucket, key, index, record):
            return self._inspect(bucket, key)
        return Finding(bucket, key, RecordState.REPAIRED, index.length(), problems)


def _preview_names(index: Index) -> Iterator[tuple[int, str]]:
    return ((size, f"preview {size}") for size in index.parts)


def _split(index: Index, record: bytes) -> Mapping[str, bytes]:
    """Split a record into its payload and previews."""
    parts = {PAYLOAD: record[: index.payload.length]}
    for size, name in _preview_names(index):
        start = index.offset(size)
        parts[name] = record[start : start + index.parts[size].length]
    return parts


def _check_type(stored: StoredRecord, problems: Problems) -> None:
    """Check whether an object matches its content type."""
    try:
        deque(validate_body(stored.index.content_type, stored.payload.chunks()), maxlen=0)
    except BodyMismatch:
        problems[PAYLOAD] = f"{PAYLOAD} does not match its content type: {stored.index.content_type}"
