"""A client of the interface, with what tests do over and over."""

import falcon.testing

from tests import pictures

IMAGE = "141d2706-8baf-433b-82eb-8c7fada847da"
OBJECT = "b5d6fd45-fcca-453d-ac05-3e594054b813"
ANOTHER = "ffffffff-ffff-ffff-ffff-ffffffffffff"
OURS = {"Luna-Account-Id": "8950722f-3fd4-4223-b48f-03f95f0e8dfb"}
THEIRS = {"Luna-Account-Id": "00000000-0000-0000-0000-000000000001"}
TEXT = {"Content-Type": "text/plain"}
IMAGES = "/1/buckets/pictures/images"
OBJECTS = "/1/buckets/pictures/objects"
IMAGE_URL = f"{IMAGES}/{IMAGE}"
OBJECT_URL = f"{OBJECTS}/{OBJECT}"
JPEG = pictures.jpeg()


class Client(falcon.testing.TestClient):
    """A client with the bucket `pictures`."""

    def put_image(self, data=JPEG, url=IMAGE_URL, **options):
        answer = self.simulate_put(url, body=data, **options)
        assert answer.status_code == 200, answer.text
        return url

    def put_object(self, data=b"text", url=OBJECT_URL, headers=None):
        answer = self.simulate_put(url, body=data, headers={**TEXT, **(headers or {})})
        assert answer.status_code == 200, answer.text
        return url


def account(headers):
    """Make the query that names the account of these headers."""
    return {"account_id": headers["Luna-Account-Id"]}


def error(answer):
    """Read status and code of an error, which must have the form of the interface."""
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error_code", "desc", "detail"]
    return answer.status_code, answer.json["error_code"]
