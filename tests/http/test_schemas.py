import pytest

from luna_image_store.http.schemas import BaseSchema


def kinds(base=BaseSchema):
    return [kind for direct in base.__subclasses__() for kind in (direct, *kinds(direct))]


@pytest.mark.parametrize("kind", kinds())
def test_a_schema_has_fields_and_no_hooks(kind):
    """Requests are loaded field by field: a hook would be passed over."""
    assert not any(kind._hooks.values())
