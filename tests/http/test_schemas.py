from inspect import isfunction

import pytest

from luna_image_store.http.schemas import BaseSchema


def kinds(base=BaseSchema):
    return [kind for direct in base.__subclasses__() for kind in (direct, *kinds(direct))]


@pytest.mark.parametrize("kind", [BaseSchema, *kinds()])
def test_a_schema_has_fields_and_no_methods(kind):
    """Requests are loaded field by field: a method of the schema, which could be a hook, would not be called."""
    assert [name for name, value in vars(kind).items() if isfunction(value)] == []
