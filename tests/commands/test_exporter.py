import pytest

from luna_image_store.commands.export.exporter import MAX_ATTEMPTS, RecordExporter
from luna_image_store.imaging.render import RenderSettings, render
from luna_image_store.settings import load
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.disk.backend import DiskStorage
from luna_image_store.storage.record import NewRecord
from tests import sample_images

KEY = Key(Kind.IMAGE, "141d2706-8baf-433b-82eb-8c7fada847da")


def put(storage, width, height):
    rendered = render(sample_images.jpeg(width, height), RenderSettings())
    storage.put("faces", KEY, NewRecord("image/jpeg", size=rendered.size, previews=rendered.previews), [rendered.jpeg])
    return rendered


class ReplacingStorage(DiskStorage):
    """Replaces the record before each read of a preview, `replacements` times."""

    replacements = 0

    def preview(self, bucket, key, size):
        if self.replacements:
            self.replacements -= 1
            self.latest = put(self, 100 + self.replacements, 200)
        return super().preview(bucket, key, size)


@pytest.fixture
def storage(tmp_path):
    storage = ReplacingStorage(str(tmp_path / "store"))
    storage.create_bucket("faces")
    put(storage, 300, 100)
    return storage


@pytest.fixture
def export(tmp_path, storage):
    return RecordExporter(1, load(environ={}), "faces", str(tmp_path / "out"), with_previews=True, storage=storage)


@pytest.mark.parametrize("replacements", [0, 1, MAX_ATTEMPTS - 1])
def test_image_and_previews_are_exported_from_the_same_version(export, storage, tmp_path, replacements):
    storage.replacements = replacements
    (exported,) = export([KEY])
    assert not exported.problem
    payload = (tmp_path / "out" / exported.line["file"]).read_bytes()
    rendered = storage.latest if replacements else render(payload, RenderSettings())
    assert payload == rendered.jpeg
    assert exported.line["previews"].keys() == rendered.previews.keys()
    for size, path in exported.line["previews"].items():
        assert (tmp_path / "out" / path).read_bytes() == rendered.previews[size]


def test_image_that_is_replaced_during_each_attempt_is_reported(export, storage):
    storage.replacements = 99
    (exported,) = export([KEY])
    assert exported.problem == "the record was replaced during 3 attempts to export it"
