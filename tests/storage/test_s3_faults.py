"""What the S3 storage makes of a service that fails, with real sockets."""

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

HUGE = [bytes(2**20)] * 9  # more than a part
RECORD = b"".join(encode(DRAFT, [b"payload"]))
LARGE = b"".join(encode(TEXT, large(8)))  # not read at once

USES = {
    "create_bucket": lambda storage: storage.create_bucket("pictures"),
    "delete_bucket": lambda storage: storage.delete_bucket("pictures"),
    "list_buckets": lambda storage: storage.list_buckets(),
    "put": lambda storage: storage.put("pictures", IMAGE, DRAFT, [b"payload"]),
    "put huge": lambda storage: storage.put("pictures", OBJECT, TEXT, HUGE),
    "open": lambda storage: storage.open("pictures", IMAGE),
    "preview": lambda storage: storage.preview("pictures", IMAGE, 32),
    "head": lambda storage: storage.head("pictures", IMAGE),
    "head_many": lambda storage: storage.head_many("pictures", [IMAGE, OBJECT]),
    "delete": lambda storage: storage.delete("pictures", IMAGE),
    "delete_many": lambda storage: storage.delete_many("pictures", [IMAGE, OBJECT]),
    "list_keys": lambda storage: list(storage.list_keys("pictures", Kind.IMAGE)),
    "check": lambda storage: storage.check(),
}
FAULTS = {
    "no answer": (lambda client, method, path: None, StorageUnavailable),
    "reset": (lambda client, method, path: client.reset(), StorageUnavailable),
    "no HTTP": (lambda client, method, path: client.send(b"220 mail.example ESMTP\r\n"), StorageUnavailable),
    "fault": (lambda client, method, path: client.refuse(500, "InternalError", method), StorageUnavailable),
    "slow down": (lambda client, method, path: client.refuse(503, "SlowDown", method), StorageUnavailable),
    "a page": (lambda client, method, path: client.answer(502, b"<html>Bad gateway"), StorageUnavailable),
    "denied": (lambda client, method, path: client.refuse(403, "AccessDenied", method), StorageUnavailable),
    "key": (lambda client, method, path: client.refuse(403, "InvalidAccessKeyId", method), StorageUnavailable),
    "clock": (lambda client, method, path: client.refuse(403, "RequestTimeTooSkewed", method), StorageUnavailable),
    "gateway": (lambda client, method, path: client.refuse(504, "GatewayTimeout", method), StorageTimeout),
    "full": (lambda client, method, path: client.refuse(507, "InsufficientStorage", method), StorageFull),
    "silence": (lambda client, method, path: client.hang(), StorageTimeout),
}


@pytest.fixture(scope="module")
def patient(scripted_server):
    return storage_at(scripted_server.url)


@pytest.fixture(scope="module")
def impatient(scripted_server):
    return storage_at(scripted_server.url, READ_TIMEOUT=0.5)


@pytest.fixture
def s3(scripted_server):
    scripted_server.requests.clear()
    return scripted_server


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_an_error_of_the_interface(s3, patient, impatient, caplog, fault, use):
    s3.play, expected = FAULTS[fault]
    with pytest.raises(expected) as raised:
        USES[use](impatient if fault == "silence" else patient)
    assert raised.value.detail in (
        *("create bucket", "delete bucket", "list buckets", "save", "read", "delete", "list", "health check"),
    )
    assert "storage: " in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("body", [b"", b"<html>Sign in to this network</html>"])
@pytest.mark.parametrize("use", ["put", "put huge", "open", "head", "check", "list_buckets", "list_keys"])
def test_a_page_of_a_proxy_is_not_taken_for_an_answer_of_s3(s3, patient, use, body):
    s3.play = lambda client, method, path: client.answer(200, b"" if method == "HEAD" else body)
    with pytest.raises((StorageUnavailable, RecordDamaged)):
        USES[use](patient)


@pytest.mark.parametrize("use", USES)
def test_a_range_that_is_refused_is_an_error_of_the_interface_too(s3, patient, use):
    s3.play = lambda client, method, path: client.refuse(416, "InvalidRange", method)
    with pytest.raises((StorageUnavailable, RecordDamaged)):
        USES[use](patient)


def test_a_part_that_is_refused_is_unavailable(s3, patient):
    whole = record_that(lambda client: None, LARGE, len(LARGE))
    s3.play = lambda client, method, path: whole(client, method, path) if len(s3.requests) == 1 else tail(client)
    payload = patient.open("pictures", OBJECT).payload
    s3.play = lambda client, method, path: client.refuse(416, "InvalidRange")
    with pytest.raises(StorageUnavailable):
        payload.set_range(2**20, 100)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
)
@pytest.mark.parametrize("use", ["list_buckets", "list_keys", "open", "preview", "put huge"])
def test_an_answer_that_is_empty_is_not_taken_for_one_that_says_so(s3, patient, use, answer):
    s3.play = lambda client, method, path: client.send(answer)
    with pytest.raises(StorageUnavailable):
        USES[use](patient)


@pytest.mark.parametrize("use", ["put", "put huge"])
@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "QuotaExceeded"), (507, "XMinioStorageFull"), (400, "XMinioAdminBucketQuotaExceeded"), (413, "EntityTooLarge")],
)
def test_a_quota_that_is_used_up_is_told(s3, patient, use, status, code):
    s3.play = lambda client, method, path: client.refuse(status, code)
    with pytest.raises(StorageFull):
        USES[use](patient)


@pytest.mark.parametrize("use", [use for use in USES if use not in ("create_bucket", "list_buckets", "check")])
def test_a_bucket_that_is_missing_is_told(s3, patient, use):
    s3.play = lambda client, method, path: client.refuse(404, "NoSuchBucket", method)
    with pytest.raises(BucketNotFound, match="pictures"):
        USES[use](patient)


@pytest.mark.parametrize("use", USES)
def test_a_service_that_is_not_there_is_unavailable(use):
    with ScriptedServer() as server:
        closed = server.url
    with pytest.raises(StorageUnavailable):
        USES[use](storage_at(closed))


def test_a_service_whose_name_is_not_known_is_unavailable():
    with pytest.raises(StorageUnavailable):
        storage_at("http://nowhere.invalid").list_buckets()


def test_a_service_without_credentials_is_unavailable_until_there_are_some(s3, monkeypatch, tmp_path):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3.play = lambda client, method, path: client.answer(200, b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")
    storage = storage_at(s3.url, ACCESS_KEY_ID="", SECRET_ACCESS_KEY="")
    with pytest.raises(StorageUnavailable):
        storage.list_buckets()
    (tmp_path / "AWS_SHARED_CREDENTIALS_FILE").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert storage.list_buckets() == []


def test_what_fails_once_is_tried_again(s3):
    def play(client, method, path):
        client.refuse(503, "SlowDown") if len(s3.requests) < 3 else client.answer(200, ETag='"1"')

    s3.play = play
    storage_at(s3.url, MAX_ATTEMPTS=3).put("pictures", IMAGE, DRAFT, [b"payload"])
    assert s3.requests == [f"PUT /pictures/images/{IMAGE.id}.jpg"] * 3


# Bodies that break off


def record_that(ends, data, sent):
    """Answer every request with a record that breaks off."""

    def play(client, method, path):
        client.answer(200, data[:sent], len(data), ETag='"1"')
        ends(client)

    return play


ENDS = {
    "close": (lambda client: None, StorageUnavailable),
    "reset": (lambda client: client.reset(), StorageUnavailable),
    "silence": (lambda client: client.hang(), StorageTimeout),
}


@pytest.mark.parametrize("sent", [0, 5, len(RECORD) - 1], ids=["nothing", "some bytes", "all but a byte"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("use", ["open", "preview"])
def test_a_record_that_comes_in_part_is_not_taken_for_whole(s3, impatient, use, end, sent):
    ends, expected = ENDS[end]
    s3.play = record_that(ends, RECORD, sent)
    with pytest.raises(expected):
        USES[use](impatient)


def tail(client):
    client.answer(206, LARGE[-32768:], ETag='"1"', **{"Content-Range": f"bytes {len(LARGE) - 32768}-{len(LARGE) - 1}/{len(LARGE)}"})


@pytest.mark.parametrize("end", ENDS)
def test_a_large_payload_that_breaks_off_does_not_end_as_if_it_were_whole(s3, impatient, end):
    ends, expected = ENDS[end]
    broken = record_that(ends, LARGE, 2**20)
    s3.play = lambda client, method, path: broken(client, method, path) if len(s3.requests) == 1 else tail(client)
    payload = impatient.open("pictures", OBJECT).payload
    assert payload.read(2**16)
    with pytest.raises(expected):
        payload.read()
    payload.close()


def test_a_large_payload_that_breaks_off_at_once_is_no_payload(s3, impatient):
    broken = record_that(lambda client: None, LARGE, 100)
    s3.play = lambda client, method, path: broken(client, method, path) if len(s3.requests) == 1 else tail(client)
    with pytest.raises(StorageUnavailable):
        impatient.open("pictures", OBJECT)


def test_a_part_that_was_not_asked_for_is_not_believed(s3, patient):
    whole = record_that(lambda client: None, LARGE, len(LARGE))
    s3.play = whole
    with pytest.raises(StorageUnavailable):
        patient.preview("pictures", OBJECT, 32)
    s3.play = lambda client, method, path: whole(client, method, path) if len(s3.requests) != 3 else tail(client)
    payload = patient.open("pictures", OBJECT).payload
    with pytest.raises(StorageUnavailable):
        payload.set_range(2**20, 100)


def test_a_record_that_is_replaced_time_and_again_between_two_requests_is_unavailable(s3, patient, caplog):
    whole = record_that(lambda client: None, LARGE, len(LARGE))
    s3.play = lambda client, method, path: (
        whole(client, method, path) if len(s3.requests) % 2 else client.refuse(412, "PreconditionFailed")
    )
    with pytest.raises(StorageUnavailable):
        patient.open("pictures", OBJECT)
    assert len(s3.requests) == 6
    assert caplog.text.count("the record was replaced between two requests") == 3


def test_an_empty_object_has_no_range_and_is_damaged(s3, patient):
    s3.play = lambda client, method, path: client.refuse(416, "InvalidRange")
    with pytest.raises(RecordDamaged):
        patient.preview("pictures", IMAGE, 32)


# Uploads that break off


def upload_that(fails, at):
    """Play a multipart upload in which one step fails."""

    def play(client, method, path):
        if at in f"{method} {path}":
            fails(client)
        elif "?uploads" in path:
            client.answer(200, b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>")
        else:
            client.answer(204 if method == "DELETE" else 200, ETag='"1"')

    return play


@pytest.mark.parametrize("at", ["partNumber=1", "partNumber=2", "POST /pictures/objects/" + OBJECT.id + "?uploadId"])
def test_an_upload_that_breaks_off_is_aborted(s3, patient, at):
    s3.play = upload_that(lambda client: client.reset(), at)
    with pytest.raises(StorageUnavailable):
        patient.put("pictures", OBJECT, TEXT, HUGE)
    assert s3.requests[-1] == f"DELETE /pictures/objects/{OBJECT.id}?uploadId=7"


def test_an_upload_that_is_answered_by_a_page_of_a_proxy_is_aborted(s3, patient):
    s3.play = upload_that(lambda client: client.answer(200, b"<html/>"), "POST /pictures/objects/" + OBJECT.id + "?uploadId")
    with pytest.raises(StorageUnavailable):
        patient.put("pictures", OBJECT, TEXT, HUGE)
    assert s3.requests[-1] == f"DELETE /pictures/objects/{OBJECT.id}?uploadId=7"


def test_of_an_upload_that_another_has_aborted_nothing_is_said_to_stay(s3, patient, caplog):
    s3.play = upload_that(lambda client: client.refuse(404, "NoSuchUpload"), "uploadId=7")
    with pytest.raises(StorageUnavailable):
        patient.put("pictures", OBJECT, TEXT, HUGE)
    assert "stay" not in caplog.text


def test_an_upload_that_cannot_be_aborted_is_logged(s3, patient, caplog):
    s3.play = upload_that(lambda client: client.refuse(500, "InternalError"), "uploadId=7")
    with pytest.raises(StorageUnavailable):
        patient.put("pictures", OBJECT, TEXT, HUGE)
    assert "cannot remove the parts of an incomplete upload in bucket pictures" in caplog.text


def listing(s3, tokens):
    """Play a list of buckets whose pages name these as the next ones."""

    def play(client, method, path):
        bucket = b"<Buckets><Bucket><Name>pictures-%d</Name></Bucket></Buckets>" % len(s3.requests)
        token = tokens[len(s3.requests) - 1]
        more = b"<ContinuationToken>%b</ContinuationToken>" % token if token else b""
        client.answer(200, b"<ListAllMyBucketsResult>%b%b</ListAllMyBucketsResult>" % (bucket, more))

    return play


def test_listings_follow_a_server_that_pages(s3, patient):
    s3.play = listing(s3, [b"one", b"two", b""])
    assert patient.list_buckets() == ["pictures-1", "pictures-2", "pictures-3"]


@pytest.mark.parametrize("tokens", [[b"one"] * 9, [b"one", b"two"] * 9], ids=["one page", "two pages"])
def test_a_listing_that_leads_in_a_circle_is_not_taken_for_a_whole_one(s3, patient, tokens):
    s3.play = listing(s3, tokens)
    with pytest.raises(StorageUnavailable):
        patient.list_buckets()


def test_a_bucket_whose_records_stay_although_they_were_deleted_is_given_up(s3):
    def play(client, method, path):
        if "list-type" in path:
            listed = b"<IsTruncated>true</IsTruncated><Contents><Key>objects/1</Key></Contents>"
            client.answer(200, b"<ListBucketResult>%b</ListBucketResult>" % listed)
        elif method == "DELETE":
            client.refuse(409, "BucketNotEmpty")
        else:
            client.answer(200, b"<Result/>" if method != "HEAD" else b"")

    s3.play = play
    with pytest.raises(StorageUnavailable):
        storage_at(s3.url, DeletionLimits(tries=3)).delete_bucket("pictures")
    assert len(s3.requests) < 30


def test_a_bucket_that_a_late_save_brought_back_is_deleted_again(s3, patient):
    def play(client, method, path):
        deletions = sum(request.startswith("DELETE") for request in s3.requests)
        if method == "HEAD":
            client.answer(200 if deletions < 2 else 404)
        elif "list-type" in path:
            client.answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        else:
            client.answer(204 if method == "DELETE" else 200, b"" if method == "DELETE" else b"<Result/>")

    s3.play = play
    patient.delete_bucket("pictures")
    assert sum(request.startswith("DELETE") for request in s3.requests) == 2


def test_a_deletion_that_s3_refuses_for_one_record_fails(s3, patient, caplog):
    s3.play = lambda client, method, path: client.answer(
        200, b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    )
    with pytest.raises(StorageUnavailable):
        patient.delete_many("pictures", [IMAGE, OBJECT])
    assert "1 of 2 objects in pictures stay: AccessDenied" in caplog.text


def test_parts_are_of_a_size_that_a_large_object_has_not_too_many_of():
    assert 2**30 / PART_SIZE < 10_000


def test_a_missing_record_is_told_from_a_missing_bucket(s3, patient):
    s3.play = lambda client, method, path: client.answer(404 if "/images/" in path or "/objects/" in path else 200)
    for use, error in (("head", ImageNotFound), ("delete", ImageNotFound)):
        with pytest.raises(error):
            USES[use](patient)
    with pytest.raises(ObjectNotFound):
        patient.head("pictures", OBJECT)
