import pytest

from luna_image_store.commands.export.exporter import STARTS, RecordExporter
from luna_image_store.imaging.render import RenderSettings, render
from luna_image_store.settings import load
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.disk.backend import DiskStorage
from luna_image_store.storage.record import NewRecord
from tests import sample_images

KEY = Key(Kind.IMAGE, "141d2706-8baf-433b-82eb-8c7fada847da")


def put(storage, width, height):
    picture = render(sample_images.jpeg(width, height), RenderSettings())
    storage.put("faces", KEY, NewRecord("image/jpeg", size=picture.size, previews=picture.previews), [picture.jpeg])
    return picture


class Replaced(DiskStorage):
    """A storage in which a record is replaced whenever a preview is about to be read, so many times."""

    times = 0

    def preview(self, bucket, key, size):
        if self.times:
            self.times -= 1
            self.latest = put(self, 100 + self.times, 200)
        return super().preview(bucket, key, size)


@pytest.fixture
def storage(tmp_path):
    storage = Replaced(str(tmp_path / "store"))
    storage.create_bucket("faces")
    put(storage, 300, 100)
    return storage


@pytest.fixture
def export(tmp_path, storage):
    return RecordExporter(1, load(environ={}), "faces", str(tmp_path / "out"), with_previews=True, storage=storage)


@pytest.mark.parametrize("times", [0, 1, STARTS - 1])
def test_a_picture_and_its_previews_are_of_one_version(export, storage, tmp_path, times):
    storage.times = times
    (exported,) = export([KEY])
    assert not exported.fault
    original = (tmp_path / "out" / exported.line["file"]).read_bytes()
    picture = storage.latest if times else render(original, RenderSettings())
    assert original == picture.jpeg
    assert exported.line["previews"].keys() == picture.previews.keys()
    for size, path in exported.line["previews"].items():
        assert (tmp_path / "out" / path).read_bytes() == picture.previews[size]


def test_a_picture_that_is_replaced_over_and_over_is_told(export, storage):
    storage.times = 99
    (exported,) = export([KEY])
    assert exported.fault == "it is replaced again and again"
