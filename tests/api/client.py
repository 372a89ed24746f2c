"""A client of the interface, with test data and common test steps."""

import falcon.testing

from tests import sample_images

IMAGE_ID = "141d2706-8baf-433b-82eb-8c7fada847da"
OBJECT_ID = "b5d6fd45-fcca-453d-ac05-3e594054b813"
OTHER_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
ACCOUNT = {"Luna-Account-Id": "8950722f-3fd4-4223-b48f-03f95f0e8dfb"}
OTHER_ACCOUNT = {"Luna-Account-Id": "00000000-0000-0000-0000-000000000001"}
TEXT = {"Content-Type": "text/plain"}
IMAGES = "/1/buckets/photos/images"
OBJECTS = "/1/buckets/photos/objects"
IMAGE_URL = f"{IMAGES}/{IMAGE_ID}"
OBJECT_URL = f"{OBJECTS}/{OBJECT_ID}"
JPEG = sample_images.jpeg()


class Client(falcon.testing.TestClient):
    """A test client. Its methods use the bucket `photos`."""

    def put_image(self, data=JPEG, url=IMAGE_URL, **options):
        response = self.simulate_put(url, body=data, **options)
        assert response.status_code == 200, response.text
        return url

    def put_object(self, data=b"text", url=OBJECT_URL, headers=None):
        response = self.simulate_put(url, body=data, headers={**TEXT, **(headers or {})})
        assert response.status_code == 200, response.text
        return url


def account_query(headers):
    """Return the query parameters for the account of these headers."""
    return {"account_id": headers["Luna-Account-Id"]}


def error(response):
    """Return status and error code of an error response. Check the form of its body."""
    assert response.headers["content-type"] == "application/json"
    assert list(response.json) == ["error_code", "desc", "detail"]
    return response.status_code, response.json["error_code"]
