import errno
import os
import shutil
import socket
import stat
import subprocess
from contextlib import suppress

import pytest

from luna_image_store.errors import (
    BucketExists,
    BucketNotFound,
    ImageNotFound,
    ObjectNotFound,
    RecordDamaged,
    StorageFull,
    StorageUnavailable,
)
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.disk.backend import DiskStorage
from tests import sample_images
from tests.machine import wait_until
from tests.storage.contract import CHUNK, DRAFT, ID, IMAGE, OBJECT, TEXT, Interruption, StorageContract, interrupted, large, read

OTHER = Key(Kind.IMAGE, "14ffffff-ffff-ffff-ffff-ffffffffffff")


def record_path(root, key, bucket="b"):
    return root / bucket / key.kind.folder / key.id[:2] / (key.id + key.kind.ending)


def wait_until_empty(path):
    wait_until(lambda: not any(path.iterdir()))


def open_files():
    return [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]


class TestDiskStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def keep_root(self, root):
        self.root = root

    def raw_read(self, storage, bucket, key):
        path = record_path(self.root, key, bucket)
        return path.read_bytes() if path.exists() else None

    def raw_write(self, storage, bucket, key, data):
        path = record_path(self.root, key, bucket)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def raw_names(self, storage, bucket):
        return [path.name for path in (self.root / bucket).rglob("*") if not path.is_dir()]

    def raw_strays(self, storage, bucket):
        for folder in ("images", "objects"):
            for name in ("14", "ff", "zz", ID):
                (self.root / bucket / folder / name).mkdir()
            for name in ("README", "14/README", f"14/{ID}.png", f"14/{ID}.jpg.jpg", f"ff/{ID}", f"ff/{ID}.jpg", f"{ID}.jpg"):
                (self.root / bucket / folder / name).touch()
        (self.root / bucket / "images/14" / ID).touch()
        (self.root / bucket / "images/14" / f"{OTHER.id}.jpg").mkdir()
        (self.root / bucket / "objects/14" / f"{ID}.jpg").touch()


@pytest.fixture
def bucket(storage):
    storage.create_bucket("b")
    return "b"


# Files of records


def test_records_have_the_documented_paths(storage, root, bucket):
    storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    storage.put(bucket, OBJECT, TEXT, [b"payload"])
    assert (root / f"b/images/14/{ID}.jpg").is_file()
    assert (root / f"b/objects/14/{ID}").is_file()
    assert list((root / ".tmp").iterdir()) == []


def test_the_record_of_an_image_can_be_decoded_as_an_image(storage, root, bucket):
    storage.put(bucket, IMAGE, DRAFT, [sample_images.jpeg()])
    assert sample_images.corners(sample_images.decoded(record_path(root, IMAGE).read_bytes())) == sample_images.UPRIGHT


def test_a_storage_without_durability_stores_records(root):
    storage = DiskStorage(str(root), durable=False)
    storage.create_bucket("b")
    storage.put("b", OBJECT, TEXT, large())
    assert read(DiskStorage(str(root)).open("b", OBJECT)) == b"".join(large())
    storage.delete("b", OBJECT)
    storage.delete_bucket("b")
    assert storage.list_buckets() == []


def test_a_bucket_name_may_have_255_characters(storage):
    storage.create_bucket("x" * 255)
    storage.put("x" * 255, IMAGE, DRAFT, [b"payload"])
    storage.delete_bucket("x" * 255)
    assert storage.list_buckets() == []


def test_a_relative_root_is_resolved_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = DiskStorage("deep/er")
    monkeypatch.chdir("/")
    storage.create_bucket("b")
    assert (tmp_path / "deep/er/b/images").is_dir()


def test_two_services_can_share_a_root(storage, root, bucket):
    other = DiskStorage(str(root))
    storage.put(bucket, IMAGE, DRAFT, [b"one"])
    assert read(other.open(bucket, IMAGE)) == b"one"
    other.delete_bucket(bucket)
    with pytest.raises(BucketNotFound):
        storage.open(bucket, IMAGE)


def test_after_a_failed_save_no_file_is_left(storage, root, bucket):
    with pytest.raises(Interruption):
        storage.put(bucket, IMAGE, DRAFT, interrupted(*large()))
    with pytest.raises(BucketNotFound):
        storage.put("missing", IMAGE, DRAFT, large())
    assert [path for path in root.rglob("*") if path.is_file()] == [root / ".lock"]


def test_no_descriptor_is_left_open(storage, root, bucket):
    storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    storage.put(bucket, OBJECT, TEXT, large())
    before = sorted(open_files())
    storage.open(bucket, IMAGE)
    storage.open(bucket, OBJECT).payload.close()
    storage.open(bucket, OBJECT)  # it is not read
    storage.preview(bucket, IMAGE, 32)
    record_path(root, IMAGE).write_bytes(b"damaged")
    for operation in (storage.open, storage.head):
        with pytest.raises(RecordDamaged):
            operation(bucket, IMAGE)
    with pytest.raises(Interruption):
        storage.put(bucket, IMAGE, DRAFT, interrupted(b"payload"))
    storage.sweep()
    storage.check()
    assert sorted(open_files()) == before


def test_the_position_of_the_descriptor_is_the_start_of_the_range(storage, bucket):
    storage.put(bucket, OBJECT, TEXT, large())
    payload = storage.open(bucket, OBJECT).payload
    assert os.lseek(payload.fileno(), 0, os.SEEK_CUR) == 0
    payload.set_range(CHUNK, 3)
    assert os.lseek(payload.fileno(), 0, os.SEEK_CUR) == CHUNK
    payload.close()


# Other files under the root


@pytest.fixture
def other_files(storage, root, tmp_path):
    """Create files and directories that resemble buckets. Return the sorted list of all paths."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("protected", "images", "objects"):
        (outside / name).mkdir()
    (root / "file").write_text("stray")
    (root / "empty").mkdir()
    (root / "half/images").mkdir(parents=True)
    (root / "lost+found").mkdir()
    (root / "Upper/images").mkdir(parents=True)
    (root / "Upper/objects").mkdir()
    (root / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(root / "fifo")
    return sorted(str(path) for path in (*root.rglob("*"), *outside.rglob("*")))


def test_a_file_or_directory_that_is_not_a_bucket_is_not_found(storage, other_files):
    assert storage.list_buckets() == []
    for name in ("file", "empty", "half", "dangling", "fifo"):
        for operation in (storage.head, storage.open, storage.delete):
            with pytest.raises(BucketNotFound):
                operation(name, OBJECT)
        with pytest.raises(BucketNotFound):
            storage.put(name, OBJECT, TEXT, [b"payload"])
        with pytest.raises(BucketNotFound):
            storage.delete_bucket(name)
        with pytest.raises(BucketExists):
            storage.create_bucket(name)


def test_other_files_are_not_changed(storage, root, tmp_path, bucket, other_files):
    storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    storage.sweep()
    storage.delete_bucket(bucket)
    wait_until_empty(root / ".trash")
    left = sorted(str(path) for path in (*root.rglob("*"), *(tmp_path / "outside").rglob("*")))
    assert left == [path for path in other_files if f"{root}/b/" not in path and path != f"{root}/b"]


def test_the_deletion_of_a_linked_bucket_keeps_its_target(storage, root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for folder in ("images", "objects", "protected"):
        (elsewhere / folder).mkdir(parents=True)
    (root / "linked").symlink_to(elsewhere)
    assert storage.list_buckets() == ["linked"]
    storage.delete_bucket("linked")
    wait_until_empty(root / ".trash")
    assert (elsewhere / "protected").is_dir()
    assert storage.list_buckets() == []


def make_directory(path):
    path.mkdir()
    (path / "protected").touch()


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.getcwd()
        os.chdir(path.parent)  # the path of a socket must be short
        server.bind(path.name)
        os.chdir(directory)


@pytest.mark.parametrize("make", [make_directory, os.mkfifo, make_socket], ids=["directory", "FIFO", "socket"])
@pytest.mark.parametrize(("key", "missing"), [(IMAGE, ImageNotFound), (OBJECT, ObjectNotFound)], ids=["image", "object"])
def test_a_path_that_is_not_a_file_is_not_a_record(storage, root, bucket, make, key, missing):
    path = record_path(root, key)
    path.parent.mkdir()
    make(path)
    kind = stat.S_IFMT(path.lstat().st_mode)
    for operation in (storage.open, storage.head, lambda bucket, key: storage.preview(bucket, key, 32)):
        with pytest.raises(missing):
            operation(bucket, key)
    assert list(storage.list_keys(bucket, key.kind)) == []
    assert stat.S_IFMT(path.lstat().st_mode) == kind


def test_a_directory_with_the_name_of_a_record_is_not_deleted(storage, root, bucket):
    path = record_path(root, IMAGE)
    path.parent.mkdir()
    make_directory(path)
    with pytest.raises(ImageNotFound):
        storage.delete(bucket, IMAGE)
    storage.delete_many(bucket, [IMAGE])
    with pytest.raises(StorageUnavailable):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    assert (path / "protected").exists()
    assert list((root / ".tmp").iterdir()) == []


def test_a_file_in_place_of_a_shard_has_no_records(storage, root, bucket):
    (root / "b/images/14").touch()
    for operation in (storage.open, storage.head, storage.delete):
        with pytest.raises(ImageNotFound):
            operation(bucket, IMAGE)
    storage.delete_many(bucket, [IMAGE])
    assert list(storage.list_keys(bucket, Kind.IMAGE)) == []
    with pytest.raises(StorageUnavailable):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])


@pytest.mark.parametrize("target", ["nowhere", "file", ID + ".jpg"], ids=["dangling", "to a file", "to itself"])
def test_a_link_in_place_of_a_record_is_replaced_and_deleted_but_not_its_target(storage, root, bucket, target):
    path = record_path(root, IMAGE)
    path.parent.mkdir()
    outside = path.parent / "file"
    outside.write_text("protected")
    path.symlink_to(target)
    storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    assert read(storage.open(bucket, IMAGE)) == b"payload"
    path.unlink()
    path.symlink_to(target)
    storage.delete(bucket, IMAGE)
    assert not path.is_symlink()
    assert outside.read_text() == "protected"


def test_a_link_to_a_file_that_is_not_a_record_is_damaged(storage, root, bucket):
    path = record_path(root, IMAGE)
    path.parent.mkdir()
    path.symlink_to("/etc/passwd")
    with pytest.raises(RecordDamaged):
        storage.open(bucket, IMAGE)


# Leftovers


@pytest.fixture
def leftovers(storage, root, tmp_path):
    """Create the leftovers of an interrupted run, and links to a directory that must not be deleted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "protected").touch()
    (root / ".tmp/save").write_bytes(b"half")
    (root / ".tmp/bucket/images").mkdir(parents=True)
    (root / ".tmp/link").symlink_to(outside)
    (root / ".trash/bucket/images/14").mkdir(parents=True)
    (root / ".trash/bucket/images/14/record").touch()
    (root / ".trash/link").symlink_to(outside)
    yield outside
    assert (outside / "protected").exists()


def test_sweep_removes_leftovers(storage, root, leftovers):
    storage.sweep()
    assert list((root / ".tmp").iterdir()) == []
    wait_until_empty(root / ".trash")
    storage.check()


def test_sweep_keeps_temporary_files_while_another_process_uses_the_root(storage, root, leftovers):
    other = DiskStorage(str(root))
    storage.sweep()
    assert sorted(path.name for path in (root / ".tmp").iterdir()) == ["bucket", "link", "save"]
    wait_until_empty(root / ".trash")
    del other
    storage.sweep()
    assert list((root / ".tmp").iterdir()) == []


def test_a_process_keeps_its_lock_after_a_sweep(storage, root):
    storage.sweep()
    (root / ".tmp/save").touch()
    DiskStorage(str(root)).sweep()
    assert (root / ".tmp/save").exists()


def test_a_save_continues_while_another_service_starts(storage, root, bucket):
    def payload():
        yield b"pay"
        DiskStorage(str(root)).sweep()
        yield b"load"

    storage.put(bucket, OBJECT, TEXT, payload())
    assert read(storage.open(bucket, OBJECT)) == b"payload"


# Errors of the system


def test_a_root_that_is_a_file_is_unavailable(tmp_path):
    (tmp_path / "file").touch()
    for path in ("file", "file/deeper"):
        with pytest.raises(StorageUnavailable, match="open the storage"):
            DiskStorage(str(tmp_path / path))


def test_a_storage_without_its_root_is_unavailable(storage, root, bucket):
    shutil.rmtree(root)
    for operation in (
        storage.check,
        storage.list_buckets,
        storage.sweep,
        lambda: storage.put(bucket, IMAGE, DRAFT, [b"payload"]),
        lambda: storage.create_bucket("c"),
        lambda: storage.open(bucket, IMAGE),
        lambda: storage.head(bucket, IMAGE),
        lambda: storage.delete(bucket, IMAGE),
        lambda: storage.delete_many(bucket, [IMAGE]),
        lambda: storage.delete_bucket(bucket),
    ):
        with pytest.raises(StorageUnavailable):
            operation()
    assert not root.exists()


def test_an_empty_root_is_unavailable_and_logged(storage, root, bucket, caplog):
    """An unmount leaves an empty root. The records must not seem to be deleted."""
    root.rename(root.with_name("moved"))
    root.mkdir()
    for operation in (
        storage.list_buckets,
        lambda: storage.open(bucket, IMAGE),
        lambda: storage.put(bucket, IMAGE, DRAFT, [b"payload"]),
    ):
        caplog.clear()
        with pytest.raises(StorageUnavailable):
            operation()
        assert str(root) in caplog.text


@pytest.mark.parametrize("is_replaced", [False, True], ids=["not replaced", "replaced"])
def test_a_failed_sync_undoes_the_save_but_not_a_later_save(storage, root, bucket, monkeypatch, is_replaced):
    def failing_fsync(descriptor):
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        if is_replaced:
            monkeypatch.undo()
            storage.put(bucket, IMAGE, DRAFT, [b"later"])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing_fsync)
    with pytest.raises(StorageUnavailable, match="save"):
        storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    if is_replaced:
        assert read(storage.open(bucket, IMAGE)) == b"later"
    else:
        with pytest.raises(ImageNotFound):
            storage.head(bucket, IMAGE)


def test_a_save_on_a_full_disk_is_storage_full_and_stores_nothing(small_disk):
    storage = DiskStorage(str(small_disk))
    storage.create_bucket("b")
    storage.put("b", IMAGE, DRAFT, [b"old"])
    for key, error in ((OBJECT, ObjectNotFound), (OTHER, ImageNotFound)):
        with pytest.raises(StorageFull, match="save"):
            storage.put("b", key, TEXT, large(100))
        with pytest.raises(error):
            storage.head("b", key)
    with pytest.raises(StorageFull):
        storage.put("b", IMAGE, TEXT, large(100))
    assert read(storage.open("b", IMAGE)) == b"old"
    assert list((small_disk / ".tmp").iterdir()) == []
    storage.put("b", OTHER, TEXT, [b"small enough"])


def test_a_disk_without_free_inodes_is_full(small_disk):
    storage = DiskStorage(str(small_disk))
    storage.create_bucket("b")
    with suppress(OSError):
        for number in range(200):
            (small_disk / "b" / str(number)).touch()
    with pytest.raises(StorageFull):
        storage.put("b", IMAGE, DRAFT, [b"payload"])
    with pytest.raises(StorageFull):
        storage.create_bucket("c")
    assert storage.list_buckets() == ["b"]


def test_a_read_only_disk_is_unavailable_for_writing_but_can_be_read(small_disk):
    storage = DiskStorage(str(small_disk))
    storage.create_bucket("b")
    storage.put("b", IMAGE, DRAFT, [b"payload"])
    for options in (["--bind", small_disk], ["-o", "remount,ro,bind"]):  # a bind mount, because the first mount is open for writing
        subprocess.run(["mount", *options, small_disk], check=True)
    for operation in (
        storage.check,
        lambda: storage.put("b", IMAGE, DRAFT, [b"new"]),
        lambda: storage.delete("b", IMAGE),
        lambda: storage.delete_many("b", [IMAGE]),
        lambda: storage.create_bucket("c"),
        lambda: storage.delete_bucket("b"),
        lambda: DiskStorage(str(small_disk)),
    ):
        with pytest.raises(StorageUnavailable):
            operation()
    assert read(storage.open("b", IMAGE)) == b"payload"


def test_the_error_of_the_system_is_logged(storage, root, caplog):
    shutil.rmtree(root)
    with pytest.raises(StorageUnavailable):
        storage.check()
    assert "storage: health check: [Errno 2] No such file or directory" in caplog.text


def test_a_damaged_record_is_logged_with_the_reason(storage, root, bucket, caplog):
    storage.put(bucket, IMAGE, DRAFT, [b"payload"])
    record_path(root, IMAGE).write_bytes(b"")
    with pytest.raises(RecordDamaged):
        storage.head(bucket, IMAGE)
    assert f"damaged record: images {ID} in bucket b: the footer is missing" in caplog.text


def test_a_bucket_is_deleted_even_if_its_space_cannot_be_freed(storage, bucket, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    storage.delete_bucket(bucket)
    assert storage.list_buckets() == []
    DiskStorage.sweep(storage)
