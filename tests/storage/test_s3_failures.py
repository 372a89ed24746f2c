"""The S3 storage with an S3 service that fails, over real sockets."""

import pytest

from luna_image_store.errors import (
    BucketNotFound,
    ImageNotFound,
    ObjectNotFound,
    RecordDamaged,
    StorageFull,
    StorageTimeout,
    StorageUnavailable,
)
from luna_image_store.storage.base import Kind
from luna_image_store.storage.record import encode
from luna_image_store.storage.s3.bucket_deletion import DeletionLimits
from luna_image_store.storage.s3.upload import PART_SIZE
from tests.scripted_s3 import SECRET, ScriptedServer, storage_at
from tests.storage.contract import DRAFT, IMAGE, OBJECT, TEXT, large

HUGE = [bytes(2**20)] * 9  # larger than a part
RECORD = b"".join(encode(DRAFT, [b"payload"]))
LARGE = b"".join(encode(TEXT, large(8)))  # too large to be read at once

OPERATIONS = {
    "create_bucket": lambda storage: storage.create_bucket("photos"),
    "delete_bucket": lambda storage: storage.delete_bucket("photos"),
    "list_buckets": lambda storage: storage.list_buckets(),
    "put": lambda storage: storage.put("photos", IMAGE, DRAFT, [b"payload"]),
    "put huge": lambda storage: storage.put("photos", OBJECT, TEXT, HUGE),
    "open": lambda storage: storage.open("photos", IMAGE),
    "preview": lambda storage: storage.preview("photos", IMAGE, 32),
    "head": lambda storage: storage.head("photos", IMAGE),
    "head_many": lambda storage: storage.head_many("photos", [IMAGE, OBJECT]),
    "delete": lambda storage: storage.delete("photos", IMAGE),
    "delete_many": lambda storage: storage.delete_many("photos", [IMAGE, OBJECT]),
    "list_keys": lambda storage: list(storage.list_keys("photos", Kind.IMAGE)),
    "check": lambda storage: storage.check(),
}
FAILURES = {
    "no response": (lambda client, method, path: None, StorageUnavailable),
    "reset": (lambda client, method, path: client.reset(), StorageUnavailable),
    "not HTTP": (lambda client, method, path: client.send(b"220 mail.example ESMTP\r\n"), StorageUnavailable),
    "internal error": (lambda client, method, path: client.refuse(500, "InternalError", method), StorageUnavailable),
    "slow down": (lambda client, method, path: client.refuse(503, "SlowDown", method), StorageUnavailable),
    "proxy page": (lambda client, method, path: client.respond(502, b"<html>Bad gateway"), StorageUnavailable),
    "denied": (lambda client, method, path: client.refuse(403, "AccessDenied", method), StorageUnavailable),
    "key": (lambda client, method, path: client.refuse(403, "InvalidAccessKeyId", method), StorageUnavailable),
    "clock": (lambda client, method, path: client.refuse(403, "RequestTimeTooSkewed", method), StorageUnavailable),
    "gateway": (lambda client, method, path: client.refuse(504, "GatewayTimeout", method), StorageTimeout),
    "full": (lambda client, method, path: client.refuse(507, "InsufficientStorage", method), StorageFull),
    "hang": (lambda client, method, path: client.hang(), StorageTimeout),
}


@pytest.fixture(scope="module")
def s3_storage(scripted_server):
    return storage_at(scripted_server.url)


@pytest.fixture(scope="module")
def short_timeout_storage(scripted_server):
    return storage_at(scripted_server.url, READ_TIMEOUT=0.5)


@pytest.fixture
def s3(scripted_server):
    scripted_server.requests.clear()
    return scripted_server


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_is_a_service_error(s3, s3_storage, short_timeout_storage, caplog, failure, operation):
    s3.play, expected = FAILURES[failure]
    with pytest.raises(expected) as raised:
        OPERATIONS[operation](short_timeout_storage if failure == "hang" else s3_storage)
    assert raised.value.detail in (
        *("create bucket", "delete bucket", "list buckets", "save", "read", "delete", "list", "health check"),
    )
    assert "storage: " in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("body", [b"", b"<html>Sign in to this network</html>"])
@pytest.mark.parametrize("operation", ["put", "put huge", "open", "head", "check", "list_buckets", "list_keys"])
def test_a_200_of_a_proxy_is_an_error(s3, s3_storage, operation, body):
    s3.play = lambda client, method, path: client.respond(200, b"" if method == "HEAD" else body)
    with pytest.raises((StorageUnavailable, RecordDamaged)):
        OPERATIONS[operation](s3_storage)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_invalid_range_is_a_service_error(s3, s3_storage, operation):
    s3.play = lambda client, method, path: client.refuse(416, "InvalidRange", method)
    with pytest.raises((StorageUnavailable, RecordDamaged)):
        OPERATIONS[operation](s3_storage)


def test_a_refused_range_of_a_large_payload_is_unavailable(s3, s3_storage):
    complete = truncated_record(lambda client: None, LARGE, len(LARGE))
    s3.play = lambda client, method, path: complete(client, method, path) if len(s3.requests) == 1 else tail(client)
    payload = s3_storage.open("photos", OBJECT).payload
    s3.play = lambda client, method, path: client.refuse(416, "InvalidRange")
    with pytest.raises(StorageUnavailable):
        payload.set_range(2**20, 100)


@pytest.mark.parametrize(
    "response", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
)
@pytest.mark.parametrize("operation", ["list_buckets", "list_keys", "open", "preview", "put huge"])
def test_an_empty_or_truncated_response_is_an_error(s3, s3_storage, operation, response):
    s3.play = lambda client, method, path: client.send(response)
    with pytest.raises(StorageUnavailable):
        OPERATIONS[operation](s3_storage)


@pytest.mark.parametrize("operation", ["put", "put huge"])
@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "QuotaExceeded"), (507, "XMinioStorageFull"), (400, "XMinioAdminBucketQuotaExceeded"), (413, "EntityTooLarge")],
)
def test_an_exceeded_quota_is_storage_full(s3, s3_storage, operation, status, code):
    s3.play = lambda client, method, path: client.refuse(status, code)
    with pytest.raises(StorageFull):
        OPERATIONS[operation](s3_storage)


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {"create_bucket", "list_buckets", "check"}))
def test_a_missing_bucket_is_bucket_not_found(s3, s3_storage, operation):
    s3.play = lambda client, method, path: client.refuse(404, "NoSuchBucket", method)
    with pytest.raises(BucketNotFound, match="photos"):
        OPERATIONS[operation](s3_storage)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refused_connection_is_unavailable(operation):
    with ScriptedServer() as server:
        closed = server.url
    with pytest.raises(StorageUnavailable):
        OPERATIONS[operation](storage_at(closed))


def test_an_unknown_host_name_is_unavailable():
    with pytest.raises(StorageUnavailable):
        storage_at("http://nowhere.invalid").list_buckets()


def test_missing_credentials_are_looked_for_again(s3, monkeypatch, tmp_path):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3.play = lambda client, method, path: client.respond(200, b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")
    storage = storage_at(s3.url, ACCESS_KEY_ID="", SECRET_ACCESS_KEY="")
    with pytest.raises(StorageUnavailable):
        storage.list_buckets()
    (tmp_path / "AWS_SHARED_CREDENTIALS_FILE").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert storage.list_buckets() == []


def test_a_failed_request_is_retried(s3):
    def play(client, method, path):
        client.refuse(503, "SlowDown") if len(s3.requests) < 3 else client.respond(200, ETag='"1"')

    s3.play = play
    storage_at(s3.url, MAX_ATTEMPTS=3).put("photos", IMAGE, DRAFT, [b"payload"])
    assert s3.requests == [f"PUT /photos/images/{IMAGE.id}.jpg"] * 3


# Bodies that end early


def truncated_record(end, data, sent):
    """Return a script that sends only the first `sent` bytes of a record, and then ends the response with `end`."""

    def play(client, method, path):
        client.respond(200, data[:sent], len(data), ETag='"1"')
        end(client)

    return play


ENDS = {
    "close": (lambda client: None, StorageUnavailable),
    "reset": (lambda client: client.reset(), StorageUnavailable),
    "hang": (lambda client: client.hang(), StorageTimeout),
}


@pytest.mark.parametrize("sent", [0, 5, len(RECORD) - 1], ids=["nothing", "some bytes", "all but one byte"])
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("operation", ["open", "preview"])
def test_a_truncated_record_is_an_error(s3, short_timeout_storage, operation, name, sent):
    end, expected = ENDS[name]
    s3.play = truncated_record(end, RECORD, sent)
    with pytest.raises(expected):
        OPERATIONS[operation](short_timeout_storage)


def tail(client):
    client.respond(
        206, LARGE[-32768:], ETag='"1"', **{"Content-Range": f"bytes {len(LARGE) - 32768}-{len(LARGE) - 1}/{len(LARGE)}"}
    )


@pytest.mark.parametrize("name", ENDS)
def test_a_truncated_large_payload_is_an_error(s3, short_timeout_storage, name):
    end, expected = ENDS[name]
    truncated = truncated_record(end, LARGE, 2**20)
    s3.play = lambda client, method, path: truncated(client, method, path) if len(s3.requests) == 1 else tail(client)
    payload = short_timeout_storage.open("photos", OBJECT).payload
    assert payload.read(2**16)
    with pytest.raises(expected):
        payload.read()
    payload.close()


def test_a_large_payload_without_its_first_bytes_is_unavailable(s3, short_timeout_storage):
    truncated = truncated_record(lambda client: None, LARGE, 100)
    s3.play = lambda client, method, path: truncated(client, method, path) if len(s3.requests) == 1 else tail(client)
    with pytest.raises(StorageUnavailable):
        short_timeout_storage.open("photos", OBJECT)


def test_another_range_than_the_requested_one_is_unavailable(s3, s3_storage):
    complete = truncated_record(lambda client: None, LARGE, len(LARGE))
    s3.play = complete
    with pytest.raises(StorageUnavailable):
        s3_storage.preview("photos", OBJECT, 32)
    s3.play = lambda client, method, path: complete(client, method, path) if len(s3.requests) != 3 else tail(client)
    payload = s3_storage.open("photos", OBJECT).payload
    with pytest.raises(StorageUnavailable):
        payload.set_range(2**20, 100)


def test_a_record_that_is_replaced_during_each_read_is_unavailable(s3, s3_storage, caplog):
    complete = truncated_record(lambda client: None, LARGE, len(LARGE))
    s3.play = lambda client, method, path: (
        complete(client, method, path) if len(s3.requests) % 2 else client.refuse(412, "PreconditionFailed")
    )
    with pytest.raises(StorageUnavailable):
        s3_storage.open("photos", OBJECT)
    assert len(s3.requests) == 6
    assert caplog.text.count("the record was replaced between two requests") == 3


def test_an_empty_object_is_damaged(s3, s3_storage):
    s3.play = lambda client, method, path: client.refuse(416, "InvalidRange")
    with pytest.raises(RecordDamaged):
        s3_storage.preview("photos", IMAGE, 32)


# Uploads that fail


def failing_upload(fail, at):
    """Return a script of a multipart upload. The request that contains `at` fails."""

    def play(client, method, path):
        if at in f"{method} {path}":
            fail(client)
        elif "?uploads" in path:
            client.respond(200, b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>")
        else:
            client.respond(204 if method == "DELETE" else 200, ETag='"1"')

    return play


@pytest.mark.parametrize("at", ["partNumber=1", "partNumber=2", "POST /photos/objects/" + OBJECT.id + "?uploadId"])
def test_a_failed_upload_is_aborted(s3, s3_storage, at):
    s3.play = failing_upload(lambda client: client.reset(), at)
    with pytest.raises(StorageUnavailable):
        s3_storage.put("photos", OBJECT, TEXT, HUGE)
    assert s3.requests[-1] == f"DELETE /photos/objects/{OBJECT.id}?uploadId=7"


def test_an_upload_that_ends_with_a_200_of_a_proxy_is_aborted(s3, s3_storage):
    s3.play = failing_upload(lambda client: client.respond(200, b"<html/>"), "POST /photos/objects/" + OBJECT.id + "?uploadId")
    with pytest.raises(StorageUnavailable):
        s3_storage.put("photos", OBJECT, TEXT, HUGE)
    assert s3.requests[-1] == f"DELETE /photos/objects/{OBJECT.id}?uploadId=7"


def test_an_upload_that_another_client_aborted_is_not_logged(s3, s3_storage, caplog):
    s3.play = failing_upload(lambda client: client.refuse(404, "NoSuchUpload"), "uploadId=7")
    with pytest.raises(StorageUnavailable):
        s3_storage.put("photos", OBJECT, TEXT, HUGE)
    assert "cannot remove" not in caplog.text


def test_an_upload_that_cannot_be_aborted_is_logged(s3, s3_storage, caplog):
    s3.play = failing_upload(lambda client: client.refuse(500, "InternalError"), "uploadId=7")
    with pytest.raises(StorageUnavailable):
        s3_storage.put("photos", OBJECT, TEXT, HUGE)
    assert "cannot remove the parts of an incomplete upload in bucket photos" in caplog.text


def listing(s3, tokens):
    """Return a script of a list of buckets, with these tokens of next pages."""

    def play(client, method, path):
        bucket = b"<Buckets><Bucket><Name>photos-%d</Name></Bucket></Buckets>" % len(s3.requests)
        token = tokens[len(s3.requests) - 1]
        more = b"<ContinuationToken>%b</ContinuationToken>" % token if token else b""
        client.respond(200, b"<ListAllMyBucketsResult>%b%b</ListAllMyBucketsResult>" % (bucket, more))

    return play


def test_all_pages_of_a_listing_are_read(s3, s3_storage):
    s3.play = listing(s3, [b"one", b"two", b""])
    assert s3_storage.list_buckets() == ["photos-1", "photos-2", "photos-3"]


@pytest.mark.parametrize("tokens", [[b"one"] * 9, [b"one", b"two"] * 9], ids=["same token", "two tokens"])
def test_a_listing_that_does_not_end_is_unavailable(s3, s3_storage, tokens):
    s3.play = listing(s3, tokens)
    with pytest.raises(StorageUnavailable):
        s3_storage.list_buckets()


def test_the_deletion_of_a_bucket_fails_if_its_records_are_not_deleted(s3):
    def play(client, method, path):
        if "list-type" in path:
            contents = b"<IsTruncated>true</IsTruncated><Contents><Key>objects/1</Key></Contents>"
            client.respond(200, b"<ListBucketResult>%b</ListBucketResult>" % contents)
        elif method == "DELETE":
            client.refuse(409, "BucketNotEmpty")
        else:
            client.respond(200, b"<Result/>" if method != "HEAD" else b"")

    s3.play = play
    with pytest.raises(StorageUnavailable):
        storage_at(s3.url, DeletionLimits(max_attempts=3)).delete_bucket("photos")
    assert len(s3.requests) < 30


def test_a_bucket_that_a_late_save_created_again_is_deleted_again(s3, s3_storage):
    def play(client, method, path):
        deletions = sum(request.startswith("DELETE") for request in s3.requests)
        if method == "HEAD":
            client.respond(200 if deletions < 2 else 404)
        elif "list-type" in path:
            client.respond(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        else:
            client.respond(204 if method == "DELETE" else 200, b"" if method == "DELETE" else b"<Result/>")

    s3.play = play
    s3_storage.delete_bucket("photos")
    assert sum(request.startswith("DELETE") for request in s3.requests) == 2


def test_a_deletion_fails_if_s3_refuses_one_record(s3, s3_storage, caplog):
    s3.play = lambda client, method, path: client.respond(
        200, b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    )
    with pytest.raises(StorageUnavailable):
        s3_storage.delete_many("photos", [IMAGE, OBJECT])
    assert "1 of 2 objects in photos were not deleted: AccessDenied" in caplog.text


def test_an_object_of_1_gib_has_less_than_10000_parts():
    assert 2**30 / PART_SIZE < 10_000


def test_a_missing_record_is_not_a_missing_bucket(s3, s3_storage):
    s3.play = lambda client, method, path: client.respond(404 if "/images/" in path or "/objects/" in path else 200)
    for operation, error in (("head", ImageNotFound), ("delete", ImageNotFound)):
        with pytest.raises(error):
            OPERATIONS[operation](s3_storage)
    with pytest.raises(ObjectNotFound):
        s3_storage.head("photos", OBJECT)
