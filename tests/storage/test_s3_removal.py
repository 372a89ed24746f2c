"""Deleting buckets of S3 that are large, or written to."""

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
from tests.s3_proxy import Fault, S3Proxy

PAGE = r"POST /pictures\?delete$"
UPLOADS = r"GET /pictures\?uploads$"  # asked for when all pages are gone


@pytest.fixture
def bucket(s3, storage_on_moto):
    storage_on_moto.create_bucket("pictures")
    return "pictures"


@pytest.fixture
def storage(storage_on_moto):
    return storage_on_moto


@pytest.fixture
def proxy(moto):
    with S3Proxy(moto.url) as proxy:
        yield proxy


@pytest.fixture
def make(moto, proxy):
    """Make a storage behind the proxy; keyword arguments are limits of deletions."""
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
    """Fill the bucket with three pages of three."""
    return fill(s3, bucket, 8)


def wait_until_gone(storage):
    wait_until(lambda: storage.list_buckets() == [])


def test_more_than_a_page_of_s3_is_listed_and_deleted(s3, storage, bucket):
    keys = fill(s3, bucket, 1005)
    assert set(storage.list_keys(bucket, Kind.OBJECT)) == set(keys)
    s3.requests()
    storage.delete_many(bucket, keys)
    assert s3.requests() == [f"POST /{bucket}?delete"] * 2
    assert list(storage.list_keys(bucket, Kind.OBJECT)) == []


def test_a_bucket_goes_page_by_page(s3, make, bucket, keys):
    storage = make(page=3)
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
    assert s3.requests().count(f"POST /{bucket}?delete") == 3


def test_what_takes_long_goes_on_in_the_background_once(make, proxy, bucket, keys, caplog):
    caplog.set_level("INFO")
    storage = make(page=3, seconds_in_request=0)
    with proxy.broken(Fault(where=PAGE, skip=1, delay=60)):
        storage.delete_bucket(bucket)
        storage.delete_bucket(bucket)
        assert storage.list_buckets() == [bucket]
    wait_until_gone(storage)
    assert caplog.text.count("its deletion goes on in the background") == 1
    with pytest.raises(BucketNotFound):
        storage.delete_bucket(bucket)


def test_a_bucket_can_not_be_made_anew_before_its_deletion_is_over(s3, make, proxy, bucket, keys, caplog):
    """Else what is saved in the new one would be deleted, too."""
    storage = make(page=3, seconds_in_request=0)
    with proxy.broken(Fault(where=UPLOADS, delay=60)):
        storage.delete_bucket(bucket)
        wait_until(lambda: f"GET /{bucket}?uploads" in proxy.requests)
        s3.boto.delete_bucket(Bucket=bucket)
        assert storage.list_buckets() == []
        with pytest.raises(BucketExists):
            storage.create_bucket(bucket)

    def is_made():
        with suppress(BucketExists):
            storage.create_bucket(bucket)
            return True

    wait_until(is_made)
    assert "is not deleted whole" not in caplog.text  # that it is gone is what was wanted


def test_unfinished_uploads_go_with_the_bucket(s3, storage, bucket):
    for number in range(3):
        s3.boto.create_multipart_upload(Bucket=bucket, Key=f"objects/{number}")
    storage.delete_bucket(bucket)
    storage.create_bucket(bucket)
    assert s3.boto.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_deletion_that_was_cut_off_goes_on_when_it_is_asked_for_again(make, proxy, bucket, keys):
    storage = make(page=3)
    with proxy.broken(Fault(where=PAGE, skip=1, status=503, code="SlowDown")), pytest.raises(StorageUnavailable):
        storage.delete_bucket(bucket)
    assert len(list(storage.list_keys(bucket, Kind.OBJECT))) == len(keys) - 3
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []


def test_several_may_delete_a_bucket_at_the_same_time(make, bucket, keys):
    storages = [make(page=3) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(storage.delete_bucket, bucket) for storage in storages]:
            assert done.exception() is None or isinstance(done.exception(), BucketNotFound)
    wait_until_gone(storages[0])


def test_a_bucket_that_is_never_empty_is_told_in_the_end(s3, make, bucket, caplog):
    s3.boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.boto.put_object(Bucket=bucket, Key="images/x", Body=b"")
    with pytest.raises(StorageUnavailable):
        make(tries=3).delete_bucket(bucket)
    assert "pictures is never empty: it keeps old versions" in caplog.text


def test_names_that_xml_cannot_carry_are_deleted_one_by_one(s3, storage, bucket):
    for name in ("a\x01b", "objects/\x7f", "\ufffe", "a"):
        s3.boto.put_object(Bucket=bucket, Key=name, Body=b"")
    s3.requests()
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
