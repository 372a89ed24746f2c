import pytest

from luna_image_store.storage.record import NewRecord, encode
from luna_image_store.storage.s3.metadata import MAX_METADATA, from_metadata, to_metadata
from tests.storage.contract import DRAFT


def record(draft, payload=b"payload"):
    return b"".join(encode(draft, [payload]))


@pytest.mark.parametrize(
    "meta",
    [{}, {"a": "two  spaces and 100 %"}, {"a": r"\u0020 \\ \" %20"}, {"a": "~" * 1000}, {"a": "é"}],
    ids=["none", "spaces", "escapes", "long", "not ASCII"],
)
def test_an_index_is_the_same_after_encoding_and_decoding(meta):
    data = record(NewRecord("text/plain; charset=utf-8", "an account", meta))
    metadata = to_metadata(data)
    index = from_metadata(metadata, len(data))
    assert index is not None
    assert (index.meta, index.content_type) == (meta, "text/plain; charset=utf-8")


def test_values_are_short_printable_ascii_without_spaces():
    metadata = to_metadata(record(NewRecord("text/plain", None, {"a": " é " * 100})))
    assert len(metadata) > 1
    assert all(value.isascii() and value.isprintable() and " " not in value and len(value) <= 256 for value in metadata.values())


def test_metadata_is_empty_above_the_limit_of_s3():
    lengths = {}
    for number in range(2100):
        metadata = to_metadata(record(NewRecord("text/plain", None, {"a": "x" * number})))
        lengths[number] = sum(len(name) + len(value) for name, value in metadata.items())
    assert MAX_METADATA - 10 < max(lengths.values()) <= MAX_METADATA
    assert lengths[2099] == 0


def test_metadata_of_another_record_and_incomplete_metadata_are_ignored():
    data = record(DRAFT)
    metadata = to_metadata(data)
    assert from_metadata({name.title(): value for name, value in metadata.items()}, len(data)) is not None
    assert from_metadata(metadata, len(data) + 1) is None
    assert from_metadata({}, len(data)) is None
    assert from_metadata({"colour": "blue"}, len(data)) is None
    assert from_metadata({name: value[:-1] for name, value in metadata.items()}, len(data)) is None
