import json
import struct
import subprocess
import sys
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna_image_store.storage.record import (
    FOOTER,
    MAX_INDEX,
    BadRecord,
    Extent,
    Index,
    NewRecord,
    decode_index,
    encode,
    etag_of,
    tail_length,
    verify,
)

DRAFT = NewRecord("image/jpeg", "an account", {"name": "Ada"}, (640, 480), {160: b"preview 160", 96: b"96", 64: b"", 32: b"32"})
texts = st.text(st.characters(exclude_categories=["Cs"]))
drafts = st.builds(
    NewRecord,
    texts,
    st.none() | texts,
    st.dictionaries(texts, texts),
    st.none() | st.tuples(st.integers(1), st.integers(1)),
    st.dictionaries(st.integers(1, 2048), st.binary(max_size=100)),
)


def encoded_record(draft=DRAFT, *payload):
    return b"".join(encode(draft, payload or (b"pay", b"load")))


def record_with_index(change, version=1):
    """Return a record with a changed index and a matching footer."""
    record = encoded_record()
    start = len(record) - tail_length(record)
    data = change(record[start : -FOOTER.size])
    return record[:start] + data + FOOTER.pack(len(data), crc32(data), version, 0, b"LISR")


def record_with_fields(**fields):
    return record_with_index(lambda data: json.dumps({**json.loads(data), **fields}).encode())


@given(drafts, st.lists(st.binary(max_size=100)), st.integers(0, 200))
def test_an_encoded_record_can_be_decoded(draft, chunks, more):
    record, payload = encoded_record(draft, *chunks), b"".join(chunks or (b"pay", b"load"))
    tail = record[-min(len(record), tail_length(record) + more) :]
    index = decode_index(tail, len(record))
    assert (index.content_type, index.account_id, index.meta, index.size) == (
        *(draft.content_type, draft.account_id),
        *(draft.meta, draft.size),
    )
    assert index.etag == etag_of(payload)
    assert index.payload.check(record[: index.payload.length], "payload") == payload
    for size, data in draft.previews.items():
        start = index.offset(size)
        assert index.parts[size].check(record[start : start + len(data)], "preview") == data


def test_the_record_format_does_not_change():
    record = encoded_record()
    length, crc, version, zero, magic = struct.unpack("<IIHH4s", record[-16:])
    index = record[-16 - length : -16]
    assert (version, zero, magic, crc) == (1, 0, b"LISR", crc32(index))
    assert record.startswith(b"payload" + b"preview 160" + b"96" + b"32" + index)
    fields = json.loads(index)
    assert fields.pop("created") > 0
    assert fields == {
        "content_type": "image/jpeg",
        "account_id": "an account",
        "meta": {"name": "Ada"},
        "etag": etag_of(b"payload"),
        "payload": [7, crc32(b"payload")],
        "parts": {"160": [11, crc32(b"preview 160")], "96": [2, crc32(b"96")], "64": [0, 0], "32": [2, crc32(b"32")]},
        "size": [640, 480],
    }


def test_a_payload_is_streamed():
    seen = []

    def payload():
        for chunk in (b"a", b"b"):
            seen.append(chunk)
            yield chunk

    pieces = encode(NewRecord("text/plain"), payload())
    assert seen == []
    assert next(pieces) == b"a"
    assert seen == [b"a"]


def test_the_offsets_of_previews_are_their_positions_in_the_record():
    index = decode_index(encoded_record(), len(encoded_record()))
    assert [index.offset(size) for size in (160, 96, 64, 32)] == [7, 18, 20, 20]
    assert index.length() == 22
    with pytest.raises(KeyError):
        index.offset(33)


def test_unknown_keys_of_an_index_are_preserved():
    record = record_with_fields(colour="blue", tags=["a"])
    index = decode_index(record, len(record))
    assert index.extra == {"colour": "blue", "tags": ["a"]}
    assert Index.from_json(index.to_json()) == index


@pytest.mark.parametrize("version", [0, 2, 65535])
def test_an_unsupported_version_is_refused(version):
    with pytest.raises(BadRecord, match=f"format version {version} is not supported, only 1"):
        tail_length(record_with_index(lambda data: data, version))


def test_each_damaged_byte_of_index_and_footer_is_detected():
    record = encoded_record()
    unused = {len(record) - 6, len(record) - 5}
    for position in set(range(len(record) - tail_length(record), len(record))) - unused:
        damaged = bytearray(record)
        damaged[position] ^= 0x40
        with pytest.raises(BadRecord):
            decode_index(bytes(damaged), len(damaged))


def test_a_record_of_any_shorter_length_is_refused():
    record = encoded_record()
    for length in range(len(record)):
        with pytest.raises(BadRecord):
            decode_index(record[:length], length)


@pytest.mark.parametrize("difference", [-1, 1, 1000])
def test_a_record_with_a_wrong_length_is_refused(difference):
    with pytest.raises(BadRecord, match=r"the record has \d+ bytes, its index states \d+"):
        decode_index(encoded_record(), len(encoded_record()) + difference)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"{",
        lambda data: b"[]",
        lambda data: b"null",
        lambda data: b"{}",
        lambda data: data.replace(b"Ada", b"\xff"),
        lambda data: b" " * MAX_INDEX + data,
    ],
    ids=["empty", "truncated", "list", "null", "empty object", "not UTF-8", "too long"],
)
def test_an_invalid_index_is_refused(change):
    record = record_with_index(change)
    with pytest.raises(BadRecord):
        decode_index(record, len(record))


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": None},
        {"payload": [7]},
        {"payload": [7, 0, 0]},
        {"payload": ["7", 0]},
        {"payload": [None, 0]},
        {"parts": []},
        {"parts": {"big": [1, 1]}},
        {"parts": {"160": ["15", 0]}},
        {"payload": [-1, 0]},
        {"size": 7},
        {"created": 1e300},
        {"created": -1},
        {"etag": 5},
        {"content_type": 7},
        {"account_id": []},
        {"meta": {"name": 5}},
    ],
)
def test_an_index_with_a_value_of_the_wrong_type_is_refused(fields):
    record = record_with_fields(**fields)
    with pytest.raises(BadRecord):
        decode_index(record, len(record))


@given(st.binary(max_size=300))
def test_bytes_that_are_not_a_record_are_refused(data):
    with pytest.raises(BadRecord):
        decode_index(data, len(data))
    with pytest.raises(BadRecord):
        decode_index(data + b"LISR", len(data) + 4)


@pytest.mark.parametrize("data", [b"dat", b"data ", b"dats", b""])
def test_a_part_with_other_bytes_fails_its_crc(data):
    with pytest.raises(BadRecord, match="the payload fails its CRC"):
        Extent(4, crc32(b"data")).check(data, "the payload")
    assert Extent(4, crc32(b"data")).check(b"data", "the payload") == b"data"


@given(st.integers(min_value=1, max_value=2000))
def test_verify_accepts_an_intact_record_in_chunks_of_any_size(step):
    record = encoded_record()
    pieces = [record[start : start + step] for start in range(0, len(record), step)]
    assert b"".join(verify(decode_index(record, len(record)), pieces)) == record


def test_verify_detects_each_damaged_byte():
    record = encoded_record()
    index = decode_index(record, len(record))
    unused = {len(record) - 6, len(record) - 5}
    for position in set(range(len(record))) - unused:
        damaged = bytearray(record)
        damaged[position] ^= 0x40
        with pytest.raises(BadRecord):
            list(verify(index, [bytes(damaged)]))


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data[:5], lambda data: b"", lambda data: data + data],
    ids=["one byte less", "five bytes", "empty", "twice"],
)
def test_verify_refuses_a_record_with_a_wrong_length(change):
    record = encoded_record()
    with pytest.raises(BadRecord):
        list(verify(decode_index(record, len(record)), [change(record)]))


def test_verify_refuses_a_payload_with_a_wrong_etag():
    record = record_with_fields(etag="0" * 32)
    with pytest.raises(BadRecord, match="ETag"):
        list(verify(decode_index(record, len(record)), [record]))


DECODE_IN_THREADS = """
import importlib, sys, threading
from luna_image_store.storage import record

def decode():
    start.wait()
    record.Index.from_json(bytes.fromhex(sys.argv[1]))

sys.setswitchinterval(1e-6)
for _ in range(150):
    importlib.reload(record)
    start = threading.Barrier(8)
    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_first_indexes_of_a_process_can_be_decoded_in_several_threads():
    index = Index("image/jpeg", None, {}, 1.0, "etag", Extent(7, 1), {160: Extent(3, 2)}, (640, 480)).to_json()
    done = subprocess.run((sys.executable, "-c", DECODE_IN_THREADS, index.hex()), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
