from inspect import isfunction

import pytest

from luna_image_store.http.schemas import BaseSchema


def subclasses(base=BaseSchema):
    return [schema for direct in base.__subclasses__() for schema in (direct, *subclasses(direct))]


@pytest.mark.parametrize("schema", [BaseSchema, *subclasses()])
def test_schemas_have_no_methods(schema):
    """Requests are loaded field by field, so a hook method of a schema would not be called."""
    assert [name for name, value in vars(schema).items() if isfunction(value)] == []
