"""Deletion of S3 buckets that are large, or that clients write to."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest

from luna_image_store.errors import BucketExists, BucketNotFound, StorageUnavailable
from luna_image_store.settings import load
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.s3.backend import S3Storage
from luna_image_store.storage.s3.bucket_deletion import DeletionLimits
from tests.machine import wait_until
from tests.s3_proxy import Failure, S3Proxy

PAGE = r"POST /photos\?delete$"
UPLOADS = r"GET /photos\?uploads$"  # requested after all pages are deleted


@pytest.fixture
def bucket(s3, storage_on_moto):
    storage_on_moto.create_bucket("photos")
    return "photos"


@pytest.fixture
def storage(storage_on_moto):
    return storage_on_moto


@pytest.fixture
def proxy(moto):
    with S3Proxy(moto.url) as proxy:
        yield proxy


@pytest.fixture
def create_storage(moto, proxy):
    """Return a function that creates a storage behind the proxy. Its arguments are the limits of deletions."""
    return lambda **limits: S3Storage(
        load(environ=moto.settings(ENDPOINT_URL=proxy.endpoint, MAX_ATTEMPTS=1)).s3, threads=2, deletion=DeletionLimits(**limits)
    )


def fill(s3, bucket, count):
    keys = [Key(Kind.OBJECT, str(uuid4())) for _ in range(count)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: s3.boto.put_object(Bucket=bucket, Key=f"objects/{key.id}", Body=b""), keys))
    s3.requests()
    return keys


@pytest.fixture
def keys(s3, bucket):
    """Store 8 objects in the bucket: three pages of up to 3."""
    return fill(s3, bucket, 8)


def wait_until_deleted(storage):
    wait_until(lambda: storage.list_buckets() == [])


def test_more_records_than_a_page_are_listed_and_deleted(s3, storage, bucket):
    keys = fill(s3, bucket, 1005)
    assert set(storage.list_keys(bucket, Kind.OBJECT)) == set(keys)
    s3.requests()
    storage.delete_many(bucket, keys)
    assert s3.requests() == [f"POST /{bucket}?delete"] * 2
    assert list(storage.list_keys(bucket, Kind.OBJECT)) == []


def test_a_bucket_is_deleted_page_by_page(s3, create_storage, bucket, keys):
    storage = create_storage(page_size=3)
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
    assert s3.requests().count(f"POST /{bucket}?delete") == 3


def test_a_long_deletion_continues_in_the_background_once(create_storage, proxy, bucket, keys, caplog):
    caplog.set_level("INFO")
    storage = create_storage(page_size=3, seconds_in_request=0)
    with proxy.failing(Failure(where=PAGE, skip=1, delay=60)):
        storage.delete_bucket(bucket)
        storage.delete_bucket(bucket)
        assert storage.list_buckets() == [bucket]
    wait_until_deleted(storage)
    assert caplog.text.count("its deletion continues in the background") == 1
    with pytest.raises(BucketNotFound):
        storage.delete_bucket(bucket)


def test_a_bucket_cannot_be_created_again_before_its_deletion_ends(s3, create_storage, proxy, bucket, keys, caplog):
    """Otherwise the deletion would delete the records of the new bucket too."""
    storage = create_storage(page_size=3, seconds_in_request=0)
    with proxy.failing(Failure(where=UPLOADS, delay=60)):
        storage.delete_bucket(bucket)
        wait_until(lambda: f"GET /{bucket}?uploads" in proxy.requests)
        s3.boto.delete_bucket(Bucket=bucket)
        assert storage.list_buckets() == []
        with pytest.raises(BucketExists):
            storage.create_bucket(bucket)

    def is_created():
        with suppress(BucketExists):
            storage.create_bucket(bucket)
            return True

    wait_until(is_created)
    assert "is only partly deleted" not in caplog.text  # another client deleted the bucket: a success


def test_incomplete_uploads_are_deleted_with_the_bucket(s3, storage, bucket):
    for number in range(3):
        s3.boto.create_multipart_upload(Bucket=bucket, Key=f"objects/{number}")
    storage.delete_bucket(bucket)
    storage.create_bucket(bucket)
    assert s3.boto.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_interrupted_deletion_continues_when_it_is_requested_again(create_storage, proxy, bucket, keys):
    storage = create_storage(page_size=3)
    with proxy.failing(Failure(where=PAGE, skip=1, status=503, code="SlowDown")), pytest.raises(StorageUnavailable):
        storage.delete_bucket(bucket)
    assert len(list(storage.list_keys(bucket, Kind.OBJECT))) == len(keys) - 3
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []


def test_concurrent_deletions_of_a_bucket_succeed_or_do_not_find_it(create_storage, bucket, keys):
    storages = [create_storage(page_size=3) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(storage.delete_bucket, bucket) for storage in storages]:
            assert done.exception() is None or isinstance(done.exception(), BucketNotFound)
    wait_until_deleted(storages[0])


def test_the_deletion_of_a_bucket_with_versioning_fails_and_is_logged(s3, create_storage, bucket, caplog):
    s3.boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.boto.put_object(Bucket=bucket, Key="images/x", Body=b"")
    with pytest.raises(StorageUnavailable):
        create_storage(max_attempts=3).delete_bucket(bucket)
    assert "photos is not empty: it keeps old versions" in caplog.text


def test_names_that_are_invalid_in_xml_are_deleted_one_by_one(s3, storage, bucket):
    for name in ("a\x01b", "objects/\x7f", "\ufffe", "a"):
        s3.boto.put_object(Bucket=bucket, Key=name, Body=b"")
    s3.requests()
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
