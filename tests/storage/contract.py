"""Tests of the storage interface, as a class. The tests of each storage are a subclass.

A subclass has a fixture `storage`, and implements the `raw_` methods, which access the stored data without the storage.
"""

import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from uuid import uuid4

import pytest

from luna_image_store.errors import BucketExists, BucketNotFound, ImageNotFound, ObjectNotFound, RecordDamaged
from luna_image_store.storage.base import MAX_IN_MEMORY_PAYLOAD, Key, Kind
from luna_image_store.storage.record import FOOTER, BadRecord, NewRecord, encode, etag_of, verify, with_previews
from tests.machine import wait_until

ID = "141d2706-8baf-433b-82eb-8c7fada847da"
IMAGE, OBJECT = Key(Kind.IMAGE, ID), Key(Kind.OBJECT, ID)
PREVIEWS = {160: b"p160" * 900, 96: b"p96" * 500, 64: b"p64" * 200, 32: b"p32"}
DRAFT = NewRecord("image/jpeg", "an account", {"name": "Ada"}, (640, 480), PREVIEWS)
TEXT = NewRecord("text/plain")
CHUNK = 2**18
MISSING = {IMAGE: ImageNotFound, OBJECT: ObjectNotFound}


class Interruption(Exception):
    """An error of a payload."""


def interrupted(*chunks):
    yield from chunks
    raise Interruption


def read(stored):
    return b"".join(stored.payload.chunks())


def large(count=5):
    """Return the chunks of a payload that is too large to be read at once. Each chunk has another letter."""
    return [bytes([65 + number]) * CHUNK for number in range(count)]


class StorageContract:
    """Tests for every storage."""

    max_memory = 16 * CHUNK  # bytes, for saving and reading a payload of 256 chunks

    def raw_read(self, storage, bucket, key):
        """Return the stored bytes of a record, or None if it is missing."""
        raise NotImplementedError

    def raw_write(self, storage, bucket, key, data):
        """Store bytes as a record in an existing bucket."""
        raise NotImplementedError

    def raw_names(self, storage, bucket):
        """Return the names of all files or objects in a bucket."""
        raise NotImplementedError

    def raw_strays(self, storage, bucket):
        """Create files or objects in a bucket that are not records."""
        raise NotImplementedError

    @pytest.fixture
    def bucket(self, storage):
        storage.create_bucket("photos")
        return "photos"

    @pytest.fixture
    def damage(self, storage, bucket):
        """Return a function that stores a record and flips a bit in the byte at `position`. Negative: from the end."""

        def flip(position, key=IMAGE, draft=DRAFT):
            storage.put(bucket, key, draft, [b"payload"])
            data = bytearray(self.raw_read(storage, bucket, key))
            data[position] ^= 1
            self.raw_write(storage, bucket, key, bytes(data))

        return flip

    # Buckets

    def test_buckets_are_created_once_and_listed_by_name(self, storage):
        assert storage.list_buckets() == []
        for name in ("photos", "a-1", "x" * 63):
            storage.create_bucket(name)
        assert storage.list_buckets() == ["a-1", "photos", "x" * 63]
        with pytest.raises(BucketExists, match="Bucket with name photos already exist"):
            storage.create_bucket("photos")

    def test_one_of_many_concurrent_creations_of_a_bucket_succeeds(self, storage):
        def create(_):
            with suppress(BucketExists):
                return storage.create_bucket("photos") is None

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(create, range(8))).count(True) == 1
        assert storage.list_buckets() == ["photos"]

    def test_a_bucket_is_deleted_with_its_records(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        storage.put(bucket, OBJECT, TEXT, large())
        storage.delete_bucket(bucket)
        assert storage.list_buckets() == []
        with pytest.raises(BucketNotFound):
            storage.open(bucket, IMAGE)
        storage.create_bucket(bucket)
        assert self.raw_names(storage, bucket) == []
        with pytest.raises(ImageNotFound):
            storage.open(bucket, IMAGE)

    def test_a_bucket_can_be_deleted_during_saves(self, storage, bucket):
        started = threading.Event()

        def write():
            with suppress(BucketNotFound):
                for _ in range(50):
                    storage.put(bucket, Key(Kind.OBJECT, str(uuid4())), TEXT, [b"payload"])
                    started.set()

        with ThreadPoolExecutor(2) as pool:
            writers = [pool.submit(write) for _ in range(2)]
            assert started.wait(60)
            storage.delete_bucket(bucket)
            for writer in writers:
                writer.result()
        wait_until(lambda: storage.list_buckets() == [])

    def test_the_deletion_of_a_bucket_does_not_change_other_buckets(self, storage, bucket):
        storage.create_bucket("others")
        storage.put("others", IMAGE, DRAFT, [b"payload"])
        with pytest.raises(ImageNotFound):
            storage.open(bucket, IMAGE)
        storage.delete_bucket(bucket)
        assert read(storage.open("others", IMAGE)) == b"payload"

    @pytest.mark.parametrize(
        "operation",
        [
            lambda storage: storage.delete_bucket("missing"),
            lambda storage: storage.put("missing", IMAGE, DRAFT, [b"payload"]),
            lambda storage: storage.put("missing", OBJECT, TEXT, large()),
            lambda storage: storage.write("missing", IMAGE, "image/jpeg", encode(DRAFT, [b"payload"])),
            lambda storage: storage.read("missing", IMAGE),
            lambda storage: storage.open("missing", IMAGE),
            lambda storage: storage.preview("missing", IMAGE, 32),
            lambda storage: storage.head("missing", OBJECT),
            lambda storage: storage.delete("missing", IMAGE),
            lambda storage: storage.delete_many("missing", [IMAGE]),
            lambda storage: storage.delete_many("missing", []),
            lambda storage: list(storage.list_keys("missing", Kind.IMAGE)),
        ],
        ids=[
            *("delete_bucket", "put", "put large", "write", "read", "open", "preview", "head"),
            *("delete", "delete_many", "delete no records", "list_keys"),
        ],
    )
    def test_a_missing_bucket_is_not_found_and_not_created(self, storage, operation):
        with pytest.raises(BucketNotFound, match="Bucket with name missing not found"):
            operation(storage)
        assert storage.list_buckets() == []

    # Records

    @pytest.mark.parametrize("key", [IMAGE, OBJECT], ids=str)
    @pytest.mark.parametrize(
        "chunks", [[b"pay", b"load"], [b"x"], [b""], [], large()], ids=["two", "one", "empty", "no chunks", "large"]
    )
    def test_a_stored_record_can_be_read(self, storage, bucket, key, chunks):
        storage.put(bucket, key, DRAFT, iter(chunks))
        payload = b"".join(chunks)
        stored = storage.open(bucket, key)
        assert read(stored) == payload
        index = storage.head(bucket, key)
        assert index == stored.index
        assert (index.content_type, index.account_id, index.meta, index.size) == (
            *("image/jpeg", "an account"),
            *({"name": "Ada"}, (640, 480)),
        )
        assert (index.payload.length, index.etag) == (len(payload), etag_of(payload))
        assert self.raw_read(storage, bucket, key).startswith(payload)

    def test_metadata_of_the_maximum_size_is_stored(self, storage, bucket):
        meta = {f"{number:02}": "~" * 62 for number in range(32)}
        draft = NewRecord("text/plain; " + "x" * 5000, ID, meta, (75_000_000, 1), PREVIEWS)
        storage.put(bucket, IMAGE, draft, [b"payload"])
        assert storage.head(bucket, IMAGE).meta == meta
        assert storage.head(bucket, IMAGE).content_type == draft.content_type
        assert storage.preview(bucket, IMAGE, 160)[1] == PREVIEWS[160]

    def test_an_image_and_an_object_may_have_the_same_id(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, [b"image"])
        storage.put(bucket, OBJECT, TEXT, [b"object"])
        storage.delete(bucket, IMAGE)
        assert read(storage.open(bucket, OBJECT)) == b"object"

    @pytest.mark.parametrize("key", MISSING, ids=str)
    @pytest.mark.parametrize("operation", ["read", "open", "head", "delete"])
    def test_a_missing_record_is_not_found(self, storage, bucket, key, operation):
        with pytest.raises(MISSING[key], match=f"with id {ID} not found"):
            getattr(storage, operation)(bucket, key)

    def test_head_many_skips_missing_and_damaged_records(self, storage, bucket):
        stored, damaged, missing = (Key(Kind.OBJECT, str(uuid4())) for _ in range(3))
        for key in (stored, IMAGE):
            storage.put(bucket, key, DRAFT, [b"payload"])
        self.raw_write(storage, bucket, damaged, b"no record")
        expected = {key: storage.head(bucket, key) for key in (stored, IMAGE)}
        assert storage.head_many(bucket, iter([missing, stored, damaged, IMAGE])) == expected
        assert storage.head_many(bucket, [missing]) == {}
        with pytest.raises(BucketNotFound):
            storage.head_many("missing", [stored])

    def test_the_preview_of_a_missing_image_is_not_found(self, storage, bucket):
        with pytest.raises(ImageNotFound):
            storage.preview(bucket, IMAGE, 32)

    @pytest.mark.parametrize("chunks", [[b"payload"], large()], ids=["small", "large"])
    def test_only_stored_previews_can_be_read(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        for size, data in PREVIEWS.items():
            assert storage.preview(bucket, IMAGE, size) == (storage.head(bucket, IMAGE), data)
        assert storage.preview(bucket, IMAGE, 33) == (storage.head(bucket, IMAGE), None)

    def test_previews_of_any_length_can_be_read(self, storage, bucket):
        previews = {160: b"1" * 300_000, 96: b"", 64: b"2" * 40_000, 32: b"3"}
        storage.put(bucket, IMAGE, NewRecord("image/jpeg", previews=previews), [b"payload"])
        assert {size: storage.preview(bucket, IMAGE, size)[1] for size in previews} == previews

    @pytest.mark.parametrize("length", [MAX_IN_MEMORY_PAYLOAD - 1, MAX_IN_MEMORY_PAYLOAD, MAX_IN_MEMORY_PAYLOAD + 1])
    def test_a_payload_up_to_a_limit_is_read_into_memory(self, storage, bucket, length):
        storage.put(bucket, OBJECT, TEXT, [b"x" * length])
        stored = storage.open(bucket, OBJECT)
        assert stored.payload.length == length
        assert (stored.payload.data is not None) == (length <= MAX_IN_MEMORY_PAYLOAD)
        assert read(stored) == b"x" * length

    def test_a_large_payload_can_be_read_in_parts_and_ranges(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, large())
        with closing(storage.open(bucket, OBJECT).payload) as payload:
            assert payload.read(3) == b"AAA"
            assert payload.read(0) == b""
            assert len(payload.read(10 * CHUNK)) == 5 * CHUNK - 3
            assert payload.read() == payload.read(1) == b""
            payload.set_range(CHUNK - 1, 3)
            assert payload.read(None) == b"ABB"
            assert payload.read(-1) == b""
            payload.set_range(0, 5 * CHUNK)
            assert payload.read() == b"".join(large())
            payload.close()

    def test_an_open_payload_does_not_change_when_its_record_is_replaced_or_deleted(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, large())
        before = storage.open(bucket, OBJECT)
        storage.put(bucket, OBJECT, TEXT, [b"other" * CHUNK])
        after = storage.open(bucket, OBJECT)
        storage.delete(bucket, OBJECT)
        assert read(before) == b"".join(large())
        assert read(after) == b"other" * CHUNK

    def test_a_large_payload_is_not_held_in_memory(self, storage, bucket):
        tracemalloc.start()
        try:
            storage.put(bucket, OBJECT, TEXT, (bytes(CHUNK) for _ in range(256)))
            with closing(storage.open(bucket, OBJECT).payload) as payload:
                while payload.read(CHUNK):
                    pass
            assert tracemalloc.get_traced_memory()[1] < self.max_memory
        finally:
            tracemalloc.stop()
        assert storage.head(bucket, OBJECT).payload.length == 256 * CHUNK

    # Replacement and failures

    def test_put_replaces_all_parts_of_a_record(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, large())
        storage.put(bucket, IMAGE, NewRecord("image/png", None, {}, None, {32: b"new"}), [b"new payload"])
        stored = storage.open(bucket, IMAGE)
        assert (stored.payload.data, stored.index.content_type, stored.index.account_id) == (b"new payload", "image/png", None)
        assert storage.preview(bucket, IMAGE, 32)[1] == b"new"
        assert storage.preview(bucket, IMAGE, 160)[1] is None
        assert len(self.raw_names(storage, bucket)) == 1

    def test_put_replaces_a_record_atomically(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, [b"old"])

        def payload():
            for chunk in large():
                assert read(storage.open(bucket, OBJECT)) == b"old"
                yield chunk

        storage.put(bucket, OBJECT, TEXT, payload())
        assert read(storage.open(bucket, OBJECT)) == b"".join(large())

    def test_a_new_record_is_not_visible_before_it_is_complete(self, storage, bucket):
        def payload():
            for chunk in large():
                with pytest.raises(ObjectNotFound):
                    storage.head(bucket, OBJECT)
                assert list(storage.list_keys(bucket, Kind.OBJECT)) == []
                yield chunk

        storage.put(bucket, OBJECT, TEXT, payload())
        assert list(storage.list_keys(bucket, Kind.OBJECT)) == [OBJECT]

    @pytest.mark.parametrize("chunks", [[], [b"payload"], large()], ids=["at once", "small", "large"])
    def test_after_a_payload_that_fails_nothing_is_stored(self, storage, bucket, chunks):
        with pytest.raises(Interruption):
            storage.put(bucket, OBJECT, TEXT, interrupted(*chunks))
        with pytest.raises(ObjectNotFound):
            storage.head(bucket, OBJECT)
        assert self.raw_names(storage, bucket) == []

    @pytest.mark.parametrize("chunks", [[b"payload"], large()], ids=["small", "large"])
    def test_after_a_payload_that_fails_the_old_record_is_unchanged(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, [b"old"])
        before = self.raw_read(storage, bucket, IMAGE)
        with pytest.raises(Interruption):
            storage.put(bucket, IMAGE, TEXT, interrupted(*chunks))
        assert self.raw_read(storage, bucket, IMAGE) == before

    def test_a_bucket_that_is_deleted_during_a_save_stays_deleted(self, storage, bucket):
        def payload():
            yield b"pay"
            storage.delete_bucket(bucket)
            yield b"load"

        with pytest.raises(BucketNotFound):
            storage.put(bucket, OBJECT, TEXT, payload())
        assert storage.list_buckets() == []
        storage.create_bucket(bucket)
        assert self.raw_names(storage, bucket) == []

    @pytest.mark.parametrize("key", [IMAGE, OBJECT], ids=str)
    def test_readers_see_intact_records_during_concurrent_saves(self, storage, bucket, key):
        writers, rounds = 4, 15
        done = threading.Event()

        def write(number):
            for turn in range(rounds):
                text = f"{number} {turn}"
                draft = NewRecord("text/plain", meta={"text": text}, previews={32: text.encode()})
                storage.put(bucket, key, draft, [text.encode(), b" " * 1000 * number])

        def watch():
            while not done.is_set():
                with suppress(MISSING[key]):
                    stored = storage.open(bucket, key)
                    assert read(stored).rstrip() == stored.index.meta["text"].encode()
                    index, preview = storage.preview(bucket, key, 32)
                    assert preview == index.meta["text"].encode()

        with ThreadPoolExecutor(writers + 1) as pool:
            reader = pool.submit(watch)
            try:
                for writer in [pool.submit(write, number) for number in range(writers)]:
                    writer.result()
            finally:
                done.set()
            reader.result()
        assert read(storage.open(bucket, key)).endswith(b" ") or read(storage.open(bucket, key)).startswith(b"0")
        assert len(self.raw_names(storage, bucket)) == 1

    # Deletion and listing

    @pytest.mark.parametrize("key", MISSING, ids=str)
    def test_a_deleted_record_is_not_found(self, storage, bucket, key):
        storage.put(bucket, key, DRAFT, [b"payload"])
        storage.delete(bucket, key)
        for operation in (storage.open, storage.head, storage.delete):
            with pytest.raises(MISSING[key]):
                operation(bucket, key)
        assert self.raw_names(storage, bucket) == []

    def test_delete_many_skips_missing_records(self, storage, bucket):
        keys = [Key(kind, str(uuid4())) for kind in Kind for _ in range(20)]
        for key in keys:
            storage.put(bucket, key, TEXT, [b"payload"])
        missing = [Key(kind, str(uuid4())) for kind in Kind]
        storage.delete_many(bucket, iter([*keys[1:-1], *missing, keys[1]]))
        assert [key for kind in Kind for key in storage.list_keys(bucket, kind)] == [keys[0], keys[-1]]
        storage.delete_many(bucket, [])
        assert len(self.raw_names(storage, bucket)) == 2

    def test_keys_are_listed_by_kind_and_id_without_other_files(self, storage, bucket):
        self.raw_strays(storage, bucket)
        assert [list(storage.list_keys(bucket, kind)) for kind in Kind] == [[], []]
        keys = {kind: {Key(kind, str(uuid4())) for _ in range(30)} for kind in Kind}
        for key in (*keys[Kind.IMAGE], *keys[Kind.OBJECT]):
            storage.put(bucket, key, TEXT, [b"payload"])
        for kind in Kind:
            assert list(storage.list_keys(bucket, kind)) == sorted(keys[kind], key=lambda key: key.id)

    # Damage

    @pytest.mark.parametrize("key", [IMAGE, OBJECT], ids=str)
    def test_a_damaged_payload_is_not_returned(self, storage, bucket, damage, key):
        damage(0, key)
        with pytest.raises(RecordDamaged, match=f"Id {ID}"):
            storage.open(bucket, key)
        assert storage.head(bucket, key).payload.length == 7
        assert storage.preview(bucket, key, 32)[1] == PREVIEWS[32]

    def test_a_damaged_preview_is_not_returned_but_the_others_are(self, storage, bucket, damage):
        damage(len(b"payload"))
        assert storage.preview(bucket, IMAGE, 160) == (storage.head(bucket, IMAGE), None)
        assert storage.preview(bucket, IMAGE, 96)[1] == PREVIEWS[96]
        assert read(storage.open(bucket, IMAGE)) == b"payload"

    @pytest.mark.parametrize(
        "position", [-1, -5 - 4, -FOOTER.size, 1 - FOOTER.size, 5 - FOOTER.size, -FOOTER.size - 1, -FOOTER.size - 50]
    )
    def test_a_record_with_a_damaged_index_is_damaged(self, storage, bucket, damage, position):
        damage(position)
        for operation in (storage.read, storage.open, storage.head, lambda bucket, key: storage.preview(bucket, key, 32)):
            with pytest.raises(RecordDamaged, match=f"Id {ID}"):
                operation(bucket, IMAGE)

    @pytest.mark.parametrize(
        "change",
        [lambda data: b"", lambda data: data[:-1], lambda data: data[1:], lambda data: data + b"\0"],
        ids=["empty", "last byte missing", "first byte missing", "longer"],
    )
    @pytest.mark.parametrize("chunks", [[b"payload"], large()], ids=["small", "large"])
    def test_a_record_with_a_wrong_length_is_damaged(self, storage, bucket, chunks, change):
        self.raw_write(storage, bucket, IMAGE, change(b"".join(encode(DRAFT, chunks))))
        for operation in (storage.read, storage.open, storage.head, lambda bucket, key: storage.preview(bucket, key, 32)):
            with pytest.raises(RecordDamaged):
                operation(bucket, IMAGE)

    def test_a_record_with_an_unsupported_version_is_damaged(self, storage, bucket):
        data = bytearray(b"".join(encode(DRAFT, [b"payload"])))
        data[-8] = 2
        self.raw_write(storage, bucket, IMAGE, bytes(data))
        with pytest.raises(RecordDamaged):
            storage.head(bucket, IMAGE)

    def test_a_damaged_record_can_be_replaced_and_deleted(self, storage, bucket, damage):
        damage(-1)
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        assert read(storage.open(bucket, IMAGE)) == b"payload"
        damage(-1)
        storage.delete(bucket, IMAGE)
        damage(-1)
        storage.delete_many(bucket, [IMAGE])
        assert self.raw_names(storage, bucket) == []

    def test_a_record_that_another_program_stored_can_be_read(self, storage, bucket):
        self.raw_write(storage, bucket, IMAGE, b"".join(encode(DRAFT, [b"payload"])))
        assert read(storage.open(bucket, IMAGE)) == b"payload"
        assert list(storage.list_keys(bucket, Kind.IMAGE)) == [IMAGE]

    # Complete records, and the storage

    @pytest.mark.parametrize("chunks", [[b"\xff\xd8"], [b""], large(1), large(40)], ids=["small", "empty", "medium", "large"])
    def test_a_complete_record_can_be_copied_byte_for_byte(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        index, record = storage.read(bucket, IMAGE)
        other = Key(Kind.IMAGE, str(uuid4()))
        storage.write(bucket, other, index.content_type, verify(index, record))
        assert storage.head(bucket, other) == storage.head(bucket, IMAGE) == index
        assert self.raw_read(storage, bucket, other) == self.raw_read(storage, bucket, IMAGE)

    def test_a_large_record_is_not_held_in_memory_during_a_copy(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, (b"x" * CHUNK for _ in range(256)))
        tracemalloc.start()
        try:
            index, record = storage.read(bucket, OBJECT)
            storage.write(bucket, Key(Kind.OBJECT, str(uuid4())), "text/plain", verify(index, record))
            assert tracemalloc.get_traced_memory()[1] < self.max_memory
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("chunks", [large(1), large(6)], ids=["small", "large"])
    def test_a_record_that_is_being_read_does_not_change_when_it_is_replaced(self, storage, bucket, chunks):
        storage.put(bucket, OBJECT, TEXT, chunks)
        before = self.raw_read(storage, bucket, OBJECT)
        _, record = storage.read(bucket, OBJECT)
        storage.put(bucket, OBJECT, TEXT, [b"another"])
        assert b"".join(record) == before

    def test_a_record_that_fails_its_check_during_a_copy_is_not_stored(self, storage, bucket, damage):
        damage(20)
        index, record = storage.read(bucket, IMAGE)
        other = Key(Kind.IMAGE, str(uuid4()))
        with pytest.raises(BadRecord):
            storage.write(bucket, other, index.content_type, verify(index, record))
        with pytest.raises(ImageNotFound):
            storage.head(bucket, other)

    def test_all_records_and_other_files_of_a_bucket_are_listed(self, storage, bucket):
        self.raw_strays(storage, bucket)
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        storage.put(bucket, OBJECT, TEXT, large(1))
        records = {entry.key: entry for entry in storage.entries(bucket) if entry.key}
        lengths = {key: len(self.raw_read(storage, bucket, key)) for key in (IMAGE, OBJECT)}
        assert {key: entry.length for key, entry in records.items()} == lengths
        assert all(abs(time.time() - entry.modified) < 300 for entry in records.values())
        strays = [entry.name for entry in storage.entries(bucket) if not entry.key]
        assert {"images/README", "objects/README"} <= set(strays)
        assert len(strays) == len(self.raw_names(storage, bucket)) - 2
        with pytest.raises(BucketNotFound):
            list(storage.entries("missing"))

    @pytest.mark.parametrize("chunks", [[b"payload"], large(40)], ids=["small", "large"])
    def test_replace_replaces_an_unchanged_record(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        old = storage.head(bucket, IMAGE)
        previews = {**PREVIEWS, 32: b"repaired"}
        assert storage.replace(bucket, IMAGE, old, with_previews(old, b"".join(chunks), previews))
        index, record = storage.read(bucket, IMAGE)
        list(verify(index, record))
        assert replace(index, parts=old.parts) == old
        assert storage.head(bucket, IMAGE) == index
        assert storage.preview(bucket, IMAGE, 32)[1] == b"repaired"

    @pytest.mark.parametrize("chunks", [[b"payload"], large(40)], ids=["small", "large"])
    def test_replace_does_not_overwrite_a_newer_record(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        old = storage.head(bucket, IMAGE)

        def record():
            *others, last = with_previews(old, b"".join(chunks), PREVIEWS)
            yield from others
            storage.put(bucket, IMAGE, DRAFT, [b"newer"])
            yield last

        for _ in range(2):
            assert not storage.replace(bucket, IMAGE, old, record())
            assert read(storage.open(bucket, IMAGE)) == b"newer"
        assert list(storage.leftovers([bucket])) == []

    def test_replace_does_not_restore_a_deleted_record(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        old = storage.head(bucket, IMAGE)
        storage.delete(bucket, IMAGE)
        assert not storage.replace(bucket, IMAGE, old, with_previews(old, b"payload", PREVIEWS))
        storage.delete_bucket(bucket)
        assert not storage.replace(bucket, IMAGE, old, with_previews(old, b"payload", PREVIEWS))
        assert storage.list_buckets() == []

    def test_an_incomplete_save_is_listed_as_a_leftover(self, storage, bucket):
        def payload():
            yield from large(40)
            found.extend(storage.leftovers([bucket, "missing"]))

        found = []
        storage.put(bucket, OBJECT, TEXT, payload())
        assert len(found) == 1
        assert found[0].modified < time.time() + 300
        assert list(storage.leftovers([bucket])) == []

    def test_the_check_of_a_working_storage_succeeds(self, storage, bucket):
        storage.check()
        assert self.raw_names(storage, bucket) == []

    def test_sweep_does_not_change_buckets_and_records(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        storage.sweep()
        assert storage.list_buckets() == [bucket]
        assert read(storage.open(bucket, IMAGE)) == b"payload"
