"""What every storage must keep, as one class of tests; a back end subclasses it and says how to get around it.

A subclass has a fixture `storage`, and the raw helpers below, which see what is kept without asking the storage.
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
    """What a payload may raise."""


def interrupted(*chunks):
    yield from chunks
    raise Interruption


def read(stored):
    return b"".join(stored.payload.chunks())


def large(count=5):
    """Make a payload of pieces that are told apart, larger than is read at once."""
    return [bytes([65 + number]) * CHUNK for number in range(count)]


class StorageContract:
    """The contract, promise by promise."""

    most_memory = 16 * CHUNK  # that saving and reading a payload of 256 chunks may take

    def raw_read(self, storage, bucket, key):
        """Read the bytes that are kept under a key; None where there are none."""
        raise NotImplementedError

    def raw_write(self, storage, bucket, key, data):
        """Keep these bytes under a key of a bucket that exists."""
        raise NotImplementedError

    def raw_names(self, storage, bucket):
        """List the names of all that a bucket holds."""
        raise NotImplementedError

    def raw_strays(self, storage, bucket):
        """Put things into a bucket that are none of ours."""
        raise NotImplementedError

    @pytest.fixture
    def bucket(self, storage):
        storage.create_bucket("pictures")
        return "pictures"

    @pytest.fixture
    def damage(self, storage, bucket):
        """Store a record, and flip a bit of it at a place that is counted from its end where it is negative."""

        def flip(place, key=IMAGE, draft=DRAFT):
            storage.put(bucket, key, draft, [b"payload"])
            data = bytearray(self.raw_read(storage, bucket, key))
            data[place] ^= 1
            self.raw_write(storage, bucket, key, bytes(data))

        return flip

    # Buckets

    def test_buckets_are_made_once_and_listed_by_name(self, storage):
        assert storage.list_buckets() == []
        for name in ("pictures", "a-1", "x" * 63):
            storage.create_bucket(name)
        assert storage.list_buckets() == ["a-1", "pictures", "x" * 63]
        with pytest.raises(BucketExists, match="Bucket with name pictures already exist"):
            storage.create_bucket("pictures")

    def test_of_many_who_make_a_bucket_one_succeeds(self, storage):
        def create(_):
            with suppress(BucketExists):
                return storage.create_bucket("pictures") is None

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(create, range(8))).count(True) == 1
        assert storage.list_buckets() == ["pictures"]

    def test_a_bucket_goes_with_all_it_holds(self, storage, bucket):
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

    def test_a_bucket_can_be_deleted_while_it_is_written_to(self, storage, bucket):
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

    def test_other_buckets_are_left_alone(self, storage, bucket):
        storage.create_bucket("others")
        storage.put("others", IMAGE, DRAFT, [b"payload"])
        with pytest.raises(ImageNotFound):
            storage.open(bucket, IMAGE)
        storage.delete_bucket(bucket)
        assert read(storage.open("others", IMAGE)) == b"payload"

    @pytest.mark.parametrize(
        "use",
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
            *("delete", "delete_many", "delete none", "list_keys"),
        ],
    )
    def test_a_bucket_that_is_missing_is_named_and_not_made(self, storage, use):
        with pytest.raises(BucketNotFound, match="Bucket with name missing not found"):
            use(storage)
        assert storage.list_buckets() == []

    # Records

    @pytest.mark.parametrize("key", [IMAGE, OBJECT], ids=str)
    @pytest.mark.parametrize(
        "chunks", [[b"pay", b"load"], [b"x"], [b""], [], large()], ids=["two", "one", "empty", "none", "large"]
    )
    def test_what_was_put_is_read(self, storage, bucket, key, chunks):
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

    def test_metadata_at_its_limits_is_kept(self, storage, bucket):
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
    @pytest.mark.parametrize("use", ["read", "open", "head", "delete"])
    def test_a_record_that_is_missing_is_named(self, storage, bucket, key, use):
        with pytest.raises(MISSING[key], match=f"with id {ID} not found"):
            getattr(storage, use)(bucket, key)

    def test_several_are_looked_up_at_once_but_for_missing_and_damaged_ones(self, storage, bucket):
        kept, damaged, missing = (Key(Kind.OBJECT, str(uuid4())) for _ in range(3))
        for key in (kept, IMAGE):
            storage.put(bucket, key, DRAFT, [b"payload"])
        self.raw_write(storage, bucket, damaged, b"no record")
        expected = {key: storage.head(bucket, key) for key in (kept, IMAGE)}
        assert storage.head_many(bucket, iter([missing, kept, damaged, IMAGE])) == expected
        assert storage.head_many(bucket, [missing]) == {}
        with pytest.raises(BucketNotFound):
            storage.head_many("missing", [kept])

    def test_the_preview_of_an_image_that_is_missing_is_missing(self, storage, bucket):
        with pytest.raises(ImageNotFound):
            storage.preview(bucket, IMAGE, 32)

    @pytest.mark.parametrize("chunks", [[b"payload"], large()], ids=["small", "large"])
    def test_stored_previews_are_read_and_others_are_none(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        for size, data in PREVIEWS.items():
            assert storage.preview(bucket, IMAGE, size) == (storage.head(bucket, IMAGE), data)
        assert storage.preview(bucket, IMAGE, 33) == (storage.head(bucket, IMAGE), None)

    def test_previews_of_any_length_are_read(self, storage, bucket):
        previews = {160: b"1" * 300_000, 96: b"", 64: b"2" * 40_000, 32: b"3"}
        storage.put(bucket, IMAGE, NewRecord("image/jpeg", previews=previews), [b"payload"])
        assert {size: storage.preview(bucket, IMAGE, size)[1] for size in previews} == previews

    @pytest.mark.parametrize("length", [MAX_IN_MEMORY_PAYLOAD - 1, MAX_IN_MEMORY_PAYLOAD, MAX_IN_MEMORY_PAYLOAD + 1])
    def test_a_payload_is_read_at_once_up_to_a_limit_and_left_where_it_lies_above(self, storage, bucket, length):
        storage.put(bucket, OBJECT, TEXT, [b"x" * length])
        stored = storage.open(bucket, OBJECT)
        assert stored.payload.length == length
        assert (stored.payload.data is not None) == (length <= MAX_IN_MEMORY_PAYLOAD)
        assert read(stored) == b"x" * length

    def test_a_large_payload_is_read_in_parts_and_ends_where_it_ends(self, storage, bucket):
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

    def test_an_open_payload_stays_whole_when_its_record_is_replaced_or_deleted(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, large())
        before = storage.open(bucket, OBJECT)
        storage.put(bucket, OBJECT, TEXT, [b"other" * CHUNK])
        after = storage.open(bucket, OBJECT)
        storage.delete(bucket, OBJECT)
        assert read(before) == b"".join(large())
        assert read(after) == b"other" * CHUNK

    def test_a_large_payload_is_never_held_in_memory(self, storage, bucket):
        tracemalloc.start()
        try:
            storage.put(bucket, OBJECT, TEXT, (bytes(CHUNK) for _ in range(256)))
            with closing(storage.open(bucket, OBJECT).payload) as payload:
                while payload.read(CHUNK):
                    pass
            assert tracemalloc.get_traced_memory()[1] < self.most_memory
        finally:
            tracemalloc.stop()
        assert storage.head(bucket, OBJECT).payload.length == 256 * CHUNK

    # Replacing, and failure

    def test_put_replaces_the_whole_record(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, large())
        storage.put(bucket, IMAGE, NewRecord("image/png", None, {}, None, {32: b"new"}), [b"new payload"])
        stored = storage.open(bucket, IMAGE)
        assert (stored.payload.data, stored.index.content_type, stored.index.account_id) == (b"new payload", "image/png", None)
        assert storage.preview(bucket, IMAGE, 32)[1] == b"new"
        assert storage.preview(bucket, IMAGE, 160)[1] is None
        assert len(self.raw_names(storage, bucket)) == 1

    def test_put_replaces_in_one_step(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, [b"old"])

        def payload():
            for chunk in large():
                assert read(storage.open(bucket, OBJECT)) == b"old"
                yield chunk

        storage.put(bucket, OBJECT, TEXT, payload())
        assert read(storage.open(bucket, OBJECT)) == b"".join(large())

    def test_a_new_record_is_not_seen_before_it_is_whole(self, storage, bucket):
        def payload():
            for chunk in large():
                with pytest.raises(ObjectNotFound):
                    storage.head(bucket, OBJECT)
                assert list(storage.list_keys(bucket, Kind.OBJECT)) == []
                yield chunk

        storage.put(bucket, OBJECT, TEXT, payload())
        assert list(storage.list_keys(bucket, Kind.OBJECT)) == [OBJECT]

    @pytest.mark.parametrize("chunks", [[], [b"payload"], large()], ids=["at once", "small", "large"])
    def test_a_payload_that_fails_leaves_nothing(self, storage, bucket, chunks):
        with pytest.raises(Interruption):
            storage.put(bucket, OBJECT, TEXT, interrupted(*chunks))
        with pytest.raises(ObjectNotFound):
            storage.head(bucket, OBJECT)
        assert self.raw_names(storage, bucket) == []

    @pytest.mark.parametrize("chunks", [[b"payload"], large()], ids=["small", "large"])
    def test_a_payload_that_fails_leaves_what_was_there(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, [b"old"])
        before = self.raw_read(storage, bucket, IMAGE)
        with pytest.raises(Interruption):
            storage.put(bucket, IMAGE, TEXT, interrupted(*chunks))
        assert self.raw_read(storage, bucket, IMAGE) == before

    def test_a_bucket_that_is_deleted_while_a_record_is_written_stays_deleted(self, storage, bucket):
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
    def test_of_many_who_write_one_key_each_reader_sees_one_whole(self, storage, bucket, key):
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

    # Deleting and listing

    @pytest.mark.parametrize("key", MISSING, ids=str)
    def test_a_record_that_was_deleted_is_missing(self, storage, bucket, key):
        storage.put(bucket, key, DRAFT, [b"payload"])
        storage.delete(bucket, key)
        for use in (storage.open, storage.head, storage.delete):
            with pytest.raises(MISSING[key]):
                use(bucket, key)
        assert self.raw_names(storage, bucket) == []

    def test_many_are_deleted_at_once_and_missing_ones_passed_over(self, storage, bucket):
        keys = [Key(kind, str(uuid4())) for kind in Kind for _ in range(20)]
        for key in keys:
            storage.put(bucket, key, TEXT, [b"payload"])
        missing = [Key(kind, str(uuid4())) for kind in Kind]
        storage.delete_many(bucket, iter([*keys[1:-1], *missing, keys[1]]))
        assert [key for kind in Kind for key in storage.list_keys(bucket, kind)] == [keys[0], keys[-1]]
        storage.delete_many(bucket, [])
        assert len(self.raw_names(storage, bucket)) == 2

    def test_keys_are_listed_by_kind_and_id_and_what_is_no_record_is_passed_over(self, storage, bucket):
        self.raw_strays(storage, bucket)
        assert [list(storage.list_keys(bucket, kind)) for kind in Kind] == [[], []]
        keys = {kind: {Key(kind, str(uuid4())) for _ in range(30)} for kind in Kind}
        for key in (*keys[Kind.IMAGE], *keys[Kind.OBJECT]):
            storage.put(bucket, key, TEXT, [b"payload"])
        for kind in Kind:
            assert list(storage.list_keys(bucket, kind)) == sorted(keys[kind], key=lambda key: key.id)

    # Damage

    @pytest.mark.parametrize("key", [IMAGE, OBJECT], ids=str)
    def test_a_damaged_payload_is_not_handed_out(self, storage, bucket, damage, key):
        damage(0, key)
        with pytest.raises(RecordDamaged, match=f"Id {ID}"):
            storage.open(bucket, key)
        assert storage.head(bucket, key).payload.length == 7
        assert storage.preview(bucket, key, 32)[1] == PREVIEWS[32]

    def test_a_damaged_preview_is_none_and_the_others_are_read(self, storage, bucket, damage):
        damage(len(b"payload"))
        assert storage.preview(bucket, IMAGE, 160) == (storage.head(bucket, IMAGE), None)
        assert storage.preview(bucket, IMAGE, 96)[1] == PREVIEWS[96]
        assert read(storage.open(bucket, IMAGE)) == b"payload"

    @pytest.mark.parametrize(
        "place", [-1, -5 - 4, -FOOTER.size, 1 - FOOTER.size, 5 - FOOTER.size, -FOOTER.size - 1, -FOOTER.size - 50]
    )
    def test_a_record_with_a_damaged_index_is_damaged(self, storage, bucket, damage, place):
        damage(place)
        for use in (storage.read, storage.open, storage.head, lambda bucket, key: storage.preview(bucket, key, 32)):
            with pytest.raises(RecordDamaged, match=f"Id {ID}"):
                use(bucket, IMAGE)

    @pytest.mark.parametrize(
        "cut",
        [lambda data: b"", lambda data: data[:-1], lambda data: data[1:], lambda data: data + b"\0"],
        ids=["empty", "without its end", "without its beginning", "longer"],
    )
    @pytest.mark.parametrize("chunks", [[b"payload"], large()], ids=["small", "large"])
    def test_a_record_of_another_length_is_damaged(self, storage, bucket, chunks, cut):
        self.raw_write(storage, bucket, IMAGE, cut(b"".join(encode(DRAFT, chunks))))
        for use in (storage.read, storage.open, storage.head, lambda bucket, key: storage.preview(bucket, key, 32)):
            with pytest.raises(RecordDamaged):
                use(bucket, IMAGE)

    def test_a_record_of_an_unknown_version_is_damaged(self, storage, bucket):
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

    def test_a_record_that_was_written_elsewhere_is_read(self, storage, bucket):
        self.raw_write(storage, bucket, IMAGE, b"".join(encode(DRAFT, [b"payload"])))
        assert read(storage.open(bucket, IMAGE)) == b"payload"
        assert list(storage.list_keys(bucket, Kind.IMAGE)) == [IMAGE]

    # The storage as a whole

    @pytest.mark.parametrize("chunks", [[b"\xff\xd8"], [b""], large(1), large(40)], ids=["small", "empty", "middle", "large"])
    def test_a_whole_record_is_read_and_written_byte_for_byte(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        index, record = storage.read(bucket, IMAGE)
        other = Key(Kind.IMAGE, str(uuid4()))
        storage.write(bucket, other, index.content_type, verify(index, record))
        assert storage.head(bucket, other) == storage.head(bucket, IMAGE) == index
        assert self.raw_read(storage, bucket, other) == self.raw_read(storage, bucket, IMAGE)

    def test_a_large_record_that_is_passed_on_is_never_held_in_memory(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, (b"x" * CHUNK for _ in range(256)))
        tracemalloc.start()
        try:
            index, record = storage.read(bucket, OBJECT)
            storage.write(bucket, Key(Kind.OBJECT, str(uuid4())), "text/plain", verify(index, record))
            assert tracemalloc.get_traced_memory()[1] < self.most_memory
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("chunks", [large(1), large(6)], ids=["small", "large"])
    def test_a_record_that_is_replaced_while_it_is_read_whole_is_not_mixed(self, storage, bucket, chunks):
        storage.put(bucket, OBJECT, TEXT, chunks)
        whole = self.raw_read(storage, bucket, OBJECT)
        _, record = storage.read(bucket, OBJECT)
        storage.put(bucket, OBJECT, TEXT, [b"another"])
        assert b"".join(record) == whole

    def test_a_record_that_fails_its_check_on_the_way_is_not_written(self, storage, bucket, damage):
        damage(20)
        index, record = storage.read(bucket, IMAGE)
        other = Key(Kind.IMAGE, str(uuid4()))
        with pytest.raises(BadRecord):
            storage.write(bucket, other, index.content_type, verify(index, record))
        with pytest.raises(ImageNotFound):
            storage.head(bucket, other)

    def test_all_that_a_bucket_holds_is_listed_records_and_strays(self, storage, bucket):
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
    def test_a_record_is_replaced_where_it_is_still_the_one_that_was_read(self, storage, bucket, chunks):
        storage.put(bucket, IMAGE, DRAFT, chunks)
        old = storage.head(bucket, IMAGE)
        previews = {**PREVIEWS, 32: b"mended"}
        assert storage.replace(bucket, IMAGE, old, with_previews(old, b"".join(chunks), previews))
        index, record = storage.read(bucket, IMAGE)
        list(verify(index, record))
        assert replace(index, parts=old.parts) == old
        assert storage.head(bucket, IMAGE) == index
        assert storage.preview(bucket, IMAGE, 32)[1] == b"mended"

    @pytest.mark.parametrize("chunks", [[b"payload"], large(40)], ids=["small", "large"])
    def test_a_save_that_comes_before_a_replacement_ends_stays(self, storage, bucket, chunks):
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

    def test_a_record_that_was_deleted_is_not_brought_back(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        old = storage.head(bucket, IMAGE)
        storage.delete(bucket, IMAGE)
        assert not storage.replace(bucket, IMAGE, old, with_previews(old, b"payload", PREVIEWS))
        storage.delete_bucket(bucket)
        assert not storage.replace(bucket, IMAGE, old, with_previews(old, b"payload", PREVIEWS))
        assert storage.list_buckets() == []

    def test_what_a_save_has_not_finished_is_listed_as_a_leftover(self, storage, bucket):
        def payload():
            yield from large(40)
            found.extend(storage.leftovers([bucket, "missing"]))

        found = []
        storage.put(bucket, OBJECT, TEXT, payload())
        assert len(found) == 1
        assert found[0].modified < time.time() + 300
        assert list(storage.leftovers([bucket])) == []

    def test_a_storage_that_works_passes_its_check(self, storage, bucket):
        storage.check()
        assert self.raw_names(storage, bucket) == []

    def test_sweeping_leaves_buckets_and_records_alone(self, storage, bucket):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
        storage.sweep()
        assert storage.list_buckets() == [bucket]
        assert read(storage.open(bucket, IMAGE)) == b"payload"
