import time
from uuid import UUID

import pytest

from luna_image_store.commands import targets
from luna_image_store.commands.migrate.copier import CopyState, ListedRecord, MigrateOptions, RecordCopier
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.disk.backend import DiskStorage
from luna_image_store.storage.record import NewRecord

KEYS = [Key(Kind.OBJECT, str(UUID(int=number, version=4))) for number in range(4)]


@pytest.fixture
def sides(tmp_path):
    """Return two storages with a bucket."""
    storages = [DiskStorage(str(tmp_path / name)) for name in ("source", "target")]
    for storage in storages:
        storage.create_bucket("faces")
    return storages


@pytest.fixture
def settings(tmp_path):
    return [targets.load_target("SRC", f"disk:{tmp_path}/{name}") for name in ("source", "target")]


@pytest.mark.usefixtures("restored_process")
def test_record_saved_at_the_destination_after_the_listing_is_not_replaced(sides, settings):
    source, target = sides
    source.put("faces", KEYS[0], NewRecord("text/plain"), [b"old"])
    time.sleep(0.01)
    target.put("faces", KEYS[0], NewRecord("text/plain"), [b"new"])
    (outcome,) = RecordCopier(1, *settings, MigrateOptions())(
        [ListedRecord("faces", KEYS[0], in_source=True, in_destination=False)]
    )
    assert outcome.state is CopyState.NEWER
    assert target.open("faces", KEYS[0]).payload.data == b"new"


@pytest.mark.usefixtures("restored_process")
@pytest.mark.parametrize(
    "options", [MigrateOptions(), MigrateOptions(since=1), MigrateOptions(dry_run=True)], ids=["all", "since", "dry-run"]
)
def test_unreadable_record_does_not_prevent_copies_of_others(tmp_path, sides, settings, options):
    for key in KEYS:
        sides[0].put("faces", key, NewRecord("text/plain"), [b"text"])
    path = tmp_path / "source/faces/objects" / KEYS[1].id[:2] / KEYS[1].id
    path.unlink()
    path.symlink_to(path)  # opening it fails even for root
    outcomes = RecordCopier(2, *settings, options)([ListedRecord("faces", key, True, True) for key in KEYS])
    assert [outcome.state for outcome in outcomes] == [CopyState.COPIED, CopyState.FAILED, CopyState.COPIED, CopyState.COPIED]
