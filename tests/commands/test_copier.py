import time
from uuid import UUID

import pytest

from luna_image_store.commands import targets
from luna_image_store.commands.migrate.copier import Listed, Mover, Options, State
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.disk.backend import DiskStorage
from luna_image_store.storage.record import Draft

KEYS = [Key(Kind.OBJECT, str(UUID(int=number, version=4))) for number in range(4)]


@pytest.fixture
def sides(tmp_path):
    """Give two storages with a bucket."""
    made = [DiskStorage(str(tmp_path / name)) for name in ("source", "target")]
    for storage in made:
        storage.create_bucket("faces")
    return made


@pytest.fixture
def settings(tmp_path):
    return [targets.settings_of("SRC", f"disk:{tmp_path}/{name}") for name in ("source", "target")]


@pytest.mark.usefixtures("process")
def test_what_was_saved_at_the_destination_since_it_was_listed_stays(sides, settings):
    source, target = sides
    source.put("faces", KEYS[0], Draft("text/plain"), [b"old"])
    time.sleep(0.01)
    target.put("faces", KEYS[0], Draft("text/plain"), [b"new"])
    (outcome,) = Mover(1, *settings, Options())([Listed("faces", KEYS[0], is_here=True, is_there=False)])
    assert outcome.state is State.NEWER
    assert target.open("faces", KEYS[0]).payload == b"new"


@pytest.mark.usefixtures("process")
@pytest.mark.parametrize("options", [Options(), Options(since=1), Options(is_dry=True)], ids=["all", "since", "dry"])
def test_a_record_that_can_not_be_looked_up_keeps_no_other_from_being_moved(tmp_path, sides, settings, options):
    for key in KEYS:
        sides[0].put("faces", key, Draft("text/plain"), [b"text"])
    path = tmp_path / "source/faces/objects" / KEYS[1].id[:2] / KEYS[1].id
    path.unlink()
    path.symlink_to(path)  # to open it fails even for root
    outcomes = Mover(2, *settings, options)([Listed("faces", key, True, True) for key in KEYS])
    assert [outcome.state for outcome in outcomes] == [State.COPIED, State.FAILED, State.COPIED, State.COPIED]
