"""Saves on S3: one request for a record up to the size of a part, a multipart upload for a larger record."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

from luna_image_store.errors import ServiceError
from luna_image_store.storage.base import Key, ListingEntry
from luna_image_store.storage.s3.client import S3Client
from luna_image_store.storage.s3.errors import NotSupported, S3Response, UploadNotFound
from luna_image_store.storage.s3.metadata import to_metadata

PART_SIZE = 8 * 2**20

logger = logging.getLogger(__name__)


def upload(s3: S3Client, bucket: str, key: Key, content_type: str, record: Iterable[bytes], **condition: str) -> None:
    """Save a record. Send a part when it is full or the record ends. `condition`: headers for a save with one request."""
    parts = _parts(record)
    part, is_last = next(parts)
    media_type = content_type.partition(";")[0]
    if is_last:
        save = partial(s3, "save", "put_object", bucket, key, Body=part, ContentType=media_type, Metadata=to_metadata(part))
        _require_s3_response(_save_if(save, condition) if condition else save())
        return
    upload_id = s3("save", "create_multipart_upload", bucket, key, ContentType=media_type)["UploadId"]
    try:
        numbered = enumerate(chain((part,), (part for part, _ in parts)), 1)
        uploaded = [_upload_part(s3, bucket, key, upload_id, number, part) for number, part in numbered]
        _require_s3_response(
            s3("save", "complete_multipart_upload", bucket, key, UploadId=upload_id, MultipartUpload={"Parts": uploaded})
        )
    except BaseException:
        _abort(s3, bucket, key, upload_id)
        raise


def _save_if(save: Callable[..., S3Response], condition: Mapping[str, str]) -> S3Response:
    """Save on a condition, or without it if S3 does not support it. Multipart uploads have none: Swift handles it wrongly."""
    try:
        return save(**condition)
    except NotSupported:
        return save()


def incomplete_uploads(s3: S3Client, bucket: str) -> Iterator[ListingEntry]:
    """Yield the incomplete multipart uploads. Their lengths are not known, so they are 0."""
    marker: dict[str, Any] = {}
    while True:
        page = s3("list", "list_multipart_uploads", bucket, **marker)
        for upload in page.get("Uploads", ()):
            yield ListingEntry(f"{bucket}/{upload['Key']}", None, 0, upload["Initiated"].timestamp())
        next_marker = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        if not page["IsTruncated"] or next_marker == marker:
            return
        marker = next_marker


def _require_s3_response(response: S3Response) -> None:
    """Raise StorageUnavailable for a 200 of a proxy: without request id and ETag. Swift omits the ETag of a replaced save."""
    if not response["ResponseMetadata"].get("RequestId"):
        response["ETag"]


def _upload_part(s3: S3Client, bucket: str, key: Key, upload_id: str, number: int, part: bytearray) -> dict[str, Any]:
    response = s3("save", "upload_part", bucket, key, UploadId=upload_id, PartNumber=number, Body=part)
    return {"PartNumber": number, "ETag": response["ETag"]}


def _abort(s3: S3Client, bucket: str, key: Key, upload_id: str) -> None:
    try:
        with suppress(UploadNotFound):
            s3("save", "abort_multipart_upload", bucket, key, UploadId=upload_id)
    except ServiceError as ex:
        logger.warning(
            "cannot remove the parts of an incomplete upload in bucket %s: %s %s: %s", bucket, key.kind.folder, key.id, ex
        )


def _parts(record: Iterable[bytes]) -> Iterator[tuple[bytearray, bool]]:
    """Yield parts of PART_SIZE bytes, and whether each is the last one, which may be shorter."""
    part = bytearray()
    for chunk in record:
        rest = memoryview(chunk)
        while len(part) + len(rest) > PART_SIZE:
            room = PART_SIZE - len(part)
            part += rest[:room]
            yield part, False
            part, rest = bytearray(), rest[room:]
        part += rest
    yield part, True
