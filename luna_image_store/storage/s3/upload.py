"""Saving on S3: one request for what fits into a part, a multipart upload for what does not."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

from luna_image_store.errors import ServiceError
from luna_image_store.storage.base import Key, ListingEntry
from luna_image_store.storage.s3.client import S3Client
from luna_image_store.storage.s3.errors import Answer, RequestUnknown, UploadGone
from luna_image_store.storage.s3.metadata import to_metadata

PART_SIZE = 8 * 2**20

logger = logging.getLogger(__name__)


def upload(s3: S3Client, bucket: str, key: Key, content_type: str, record: Iterable[bytes], **condition: str) -> None:
    """Save the bytes of a record. Nothing is sent before a part is full or the record has ended. `condition`: for one request."""
    parts = _parts(record)
    part, is_last = next(parts)
    media_type = content_type.partition(";")[0]
    if is_last:
        save = partial(s3, "save", "put_object", bucket, key, Body=part, ContentType=media_type, Metadata=to_metadata(part))
        _believe(_on_condition(save, condition) if condition else save())
        return
    upload_id = s3("save", "create_multipart_upload", bucket, key, ContentType=media_type)["UploadId"]
    try:
        pieces = enumerate(chain((part,), (part for part, _ in parts)), 1)
        sent = [_send(s3, bucket, key, upload_id, number, piece) for number, piece in pieces]
        _believe(s3("save", "complete_multipart_upload", bucket, key, UploadId=upload_id, MultipartUpload={"Parts": sent}))
    except BaseException:
        _abort(s3, bucket, key, upload_id)
        raise


def _on_condition(save: Callable[..., Answer], condition: Mapping[str, str]) -> Answer:
    """Save on a condition, without it where the service knows none. Of multipart uploads Swift mistakes it, so they have none."""
    try:
        return save(**condition)
    except RequestUnknown:
        return save()


def unfinished(s3: S3Client, bucket: str) -> Iterator[ListingEntry]:
    """List the multipart uploads that have not ended. They do not tell how much has come."""
    marker: dict[str, Any] = {}
    while True:
        page = s3("list", "list_multipart_uploads", bucket, **marker)
        for upload in page.get("Uploads", ()):
            yield ListingEntry(f"{bucket}/{upload['Key']}", None, 0, upload["Initiated"].timestamp())
        following = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        if not page["IsTruncated"] or following == marker:
            return
        marker = following


def _believe(answer: Answer) -> None:
    """Refuse a 200 that is not S3's but a page of a proxy. Swift tells no ETag of a save that another has overtaken."""
    if not answer["ResponseMetadata"].get("RequestId"):
        answer["ETag"]


def _send(s3: S3Client, bucket: str, key: Key, upload_id: str, number: int, part: bytearray) -> dict[str, Any]:
    answer = s3("save", "upload_part", bucket, key, UploadId=upload_id, PartNumber=number, Body=part)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def _abort(s3: S3Client, bucket: str, key: Key, upload_id: str) -> None:
    try:
        with suppress(UploadGone):
            s3("save", "abort_multipart_upload", bucket, key, UploadId=upload_id)
    except ServiceError as ex:
        logger.warning(
            "cannot remove the parts of an incomplete upload in bucket %s: %s %s: %s", bucket, key.kind.folder, key.id, ex
        )


def _parts(record: Iterable[bytes]) -> Iterator[tuple[bytearray, bool]]:
    """Regroup a record into parts of one size, and tell which is the last; it may be shorter."""
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
