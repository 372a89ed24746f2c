"""Deleting buckets of S3 that are large, or written to."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest

from luna_image_store.errors import BucketExists, BucketNotFound, StorageUnavailable
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.s3 import bucket_deletion
from tests.machine import wait_until


@pytest.fixture
def bucket(s3, storage_on_moto):
    storage_on_moto.create_bucket("pictures")
    return "pictures"


@pytest.fixture
def storage(storage_on_moto):
    return storage_on_moto


def fill(s3, bucket, count):
    keys = [Key(Kind.OBJECT, str(uuid4())) for _ in range(count)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: s3.boto.put_object(Bucket=bucket, Key=f"objects/{key.id}", Body=b""), keys))
    s3.requests()
    return keys


@pytest.fixture
def pages(s3, bucket, monkeypatch):
    """Fill the bucket with three pages, small ones."""
    monkeypatch.setattr(bucket_deletion, "PAGE", 3)
    return fill(s3, bucket, 8)


def wait_until_gone(storage):
    deadline = time.monotonic() + 60
    while storage.list_buckets():
        assert time.monotonic() < deadline, "the bucket stays"
        time.sleep(0.05)


def test_more_than_a_page_of_s3_is_listed_and_deleted(s3, storage, bucket):
    keys = fill(s3, bucket, 1005)
    assert set(storage.list_keys(bucket, Kind.OBJECT)) == set(keys)
    s3.requests()
    storage.delete_many(bucket, keys)
    assert s3.requests() == [f"POST /{bucket}?delete"] * 2
    assert list(storage.list_keys(bucket, Kind.OBJECT)) == []


def test_a_bucket_goes_page_by_page(s3, storage, bucket, pages):
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
    assert s3.requests().count(f"POST /{bucket}?delete") == 3


def test_what_takes_long_goes_on_in_the_background_once(s3, storage, bucket, pages, monkeypatch, caplog):
    caplog.set_level("INFO")
    delete_page, first, others = bucket_deletion._delete_page, iter([True]), threading.Event()

    def held(*given):
        assert next(first, False) or others.wait(60)
        return delete_page(*given)

    monkeypatch.setattr(bucket_deletion, "WITHIN_REQUEST", 0)
    monkeypatch.setattr(bucket_deletion, "_delete_page", held)
    storage.delete_bucket(bucket)
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == [bucket]
    others.set()
    wait_until_gone(storage)
    assert caplog.text.count("its deletion goes on in the background") == 1
    with pytest.raises(BucketNotFound):
        storage.delete_bucket(bucket)


def test_a_bucket_can_not_be_made_anew_before_its_deletion_is_over(s3, storage, bucket, pages, monkeypatch):
    """Else what is saved in the new one would be deleted, too."""
    is_gone, go_on, delete = threading.Event(), threading.Event(), bucket_deletion._delete_page

    def late(client, name):
        if (page := delete(client, name)) is None:
            s3.boto.delete_bucket(Bucket=name)
            is_gone.set()
            assert go_on.wait(60)
        return page

    monkeypatch.setattr(bucket_deletion, "WITHIN_REQUEST", 0)
    monkeypatch.setattr(bucket_deletion, "_delete_page", late)
    storage.delete_bucket(bucket)
    assert is_gone.wait(60)
    assert storage.list_buckets() == []
    with pytest.raises(BucketExists):
        storage.create_bucket(bucket)
    go_on.set()
    monkeypatch.undo()

    def is_made():
        with suppress(BucketExists):
            storage.create_bucket(bucket)
            return True

    wait_until(is_made)


def test_unfinished_uploads_go_with_the_bucket(s3, storage, bucket):
    for number in range(3):
        s3.boto.create_multipart_upload(Bucket=bucket, Key=f"objects/{number}")
    storage.delete_bucket(bucket)
    storage.create_bucket(bucket)
    assert s3.boto.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_deletion_that_was_cut_off_goes_on_when_it_is_asked_for_again(storage, bucket, pages):
    steps = bucket_deletion._steps(storage._s3, bucket)
    next(steps)
    steps.close()
    assert 0 < len(list(storage.list_keys(bucket, Kind.OBJECT))) < len(pages)
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []


def test_several_may_delete_a_bucket_at_the_same_time(storage, bucket, pages):
    removals = [bucket_deletion.BucketDeletions(storage._s3) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(removal.remove, bucket) for removal in removals]:
            assert done.exception() is None or isinstance(done.exception(), BucketNotFound)
    wait_until_gone(storage)


def test_a_bucket_that_is_never_empty_is_told_in_the_end(s3, storage, bucket, monkeypatch, caplog):
    monkeypatch.setattr(bucket_deletion, "TRIES", 3)
    s3.boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.boto.put_object(Bucket=bucket, Key="images/x", Body=b"")
    with pytest.raises(StorageUnavailable):
        storage.delete_bucket(bucket)
    assert "pictures is never empty: it keeps old versions" in caplog.text


def test_names_that_xml_cannot_carry_are_deleted_one_by_one(s3, storage, bucket):
    for name in ("a\x01b", "objects/\x7f", "\ufffe", "a"):
        s3.boto.put_object(Bucket=bucket, Key=name, Body=b"")
    s3.requests()
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
