"""Looking at one record: whether it is what it says of itself, and mending what can be mended."""

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

SMALLEST = 32  # pixels: to decode a picture for this takes the least memory

Faults = dict[str, str]  # the name of a part, and what is wrong with it


class RecordState(StrEnum):
    """What a record was found to be; the value is its name in the summary."""

    GOOD = "good"
    REPAIRED = "repaired"
    DAMAGED = "damaged"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a record. `faults` are in the order of its parts."""

    bucket: str
    key: Key
    state: RecordState
    length: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)


class Inspector:
    """Looks at records, and mends the previews where it is told to."""

    def __init__(self, storage: Storage, rendering: RenderSettings, deep: bool, repair: bool) -> None:
        self._storage = storage
        self._rendering = replace(rendering, max_pixels=maxsize)  # it was let in when it was saved
        self._deep, self._repair = deep, repair

    def __call__(self, bucket: str, key: Key) -> Finding:
        """Look at a record; one that has been deleted since it was listed is no fault."""
        try:
            return self._inspect(bucket, key)
        except (BucketNotFound, RecordNotFound):
            return Finding(bucket, key, RecordState.GONE)
        except RecordDamaged as ex:
            return Finding(bucket, key, RecordState.DAMAGED, faults={INDEX: str(ex.__cause__)})
        except ServiceError as ex:
            return Finding(bucket, key, RecordState.FAILED, faults={"": f"{ex.spec.desc}: {ex.__cause__ or ex}"})

    def _inspect(self, bucket: str, key: Key) -> Finding:
        faults: Faults = {}
        index, record = self._storage.read(bucket, key)
        passed = check_parts(index, record, faults.setdefault)
        if key.kind is Kind.IMAGE and (self._deep or self._repair):
            whole = b"".join(passed)
            parts = _parts(index, whole)
            if self._deep:
                self._decode(parts, faults)
            if faults and self._repair and faults.keys() <= parts.keys() - {PAYLOAD}:
                return self._mend(bucket, key, index, parts, faults)
        else:
            deque(passed, maxlen=0)
            if self._deep and not faults:
                _check_type(self._storage.open(bucket, key), faults)
        return Finding(bucket, key, RecordState.DAMAGED if faults else RecordState.GOOD, index.length(), faults)

    def _decode(self, parts: Mapping[str, bytes], faults: Faults) -> None:
        """Decode a picture and its previews, those that are what was written."""
        for name in parts.keys() - faults.keys():
            try:
                preview(parts[name], SMALLEST, self._rendering)
            except BadImage:
                faults[name] = f"{name} can't be decoded"

    def _mend(self, bucket: str, key: Key, index: Index, parts: Mapping[str, bytes], faults: Faults) -> Finding:
        """Make the damaged previews anew; where another save came in between, look at that one."""
        try:
            made = render(parts[PAYLOAD], self._rendering).previews
        except BadImage:
            faults[PAYLOAD] = f"{PAYLOAD} can't be decoded"
            return Finding(bucket, key, RecordState.DAMAGED, index.length(), faults)
        previews = {size: made[size] if name in faults else parts[name] for size, name in _names(index)}
        record = with_previews(index, parts[PAYLOAD], previews)
        if not self._storage.replace(bucket, key, index, record):
            return self._inspect(bucket, key)
        return Finding(bucket, key, RecordState.REPAIRED, index.length(), faults)


def _names(index: Index) -> Iterator[tuple[int, str]]:
    return ((size, f"preview {size}") for size in index.parts)


def _parts(index: Index, whole: bytes) -> Mapping[str, bytes]:
    """Cut a record into its payload and previews."""
    parts = {PAYLOAD: whole[: index.payload.length]}
    for size, name in _names(index):
        start = index.offset(size)
        parts[name] = whole[start : start + index.parts[size].length]
    return parts


def _check_type(stored: StoredRecord, faults: Faults) -> None:
    """Look whether an object is what its type says."""
    try:
        deque(validate_body(stored.index.content_type, stored.payload.chunks()), maxlen=0)
    except BodyMismatch:
        faults[PAYLOAD] = f"{PAYLOAD} is not what its type says: {stored.index.content_type}"
