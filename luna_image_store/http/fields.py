"""Fields and validators that marshmallow lacks."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, missing, validate

from luna_image_store.content_types import IMAGE_TYPES, OBJECT_ENDINGS, media_type
from luna_image_store.errors import BadContentType, TooManyIds, UnsupportedMediaType

PRINTABLE = "^[ -~]*$"
MAX_PREVIEW = 2048
MAX_IDS = 1000


class Pattern(validate.Regexp):
    """A regular expression that must match the complete value. With `$` alone, marshmallow accepts a final line break."""

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern, error="Must match {regex}.")
        self._matches = re.compile(pattern).fullmatch

    def __call__(self, value: Any) -> Any:
        """Return the value. Raise ValidationError if it does not match."""
        if not self._matches(value):
            raise ValidationError(self._format_error(value))
        return value


class Flag(fields.Integer):
    """0 or 1. Other spellings of these numbers, such as `01`, are invalid."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> bool:
        if value not in ("0", "1"):
            raise ValidationError("Must be 0 or 1.")
        return bool(value == "1")


class PreviewSize(fields.Integer):
    """A number of pixels from 1 to MAX_PREVIEW, in ASCII digits without a leading zero."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> int:
        if not re.fullmatch("[1-9][0-9]{0,3}", value) or int(value) > MAX_PREVIEW:
            raise ValidationError(f"Must be from 1 to {MAX_PREVIEW}.")
        return int(value)


class Ids(fields.List[str]):
    """A list of ids. Its length is checked before the ids."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> list[Any]:
        if isinstance(value, list) and len(value) > MAX_IDS:
            raise TooManyIds(len(value))
        return super()._deserialize(value, attr, data, **options)


class ImageType(fields.String):
    """The Content-Type of an image. The real format is detected from the bytes."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> str:
        if media_type(value) not in IMAGE_TYPES:
            raise BadContentType
        return media_type(value)


class ObjectType(fields.String):
    """The Content-Type of an object, stored with its parameters."""

    def deserialize(self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **_: Any) -> str:
        """Return the type. Raise BadContentType if it is missing, UnsupportedMediaType if it is not supported."""
        if value is missing:
            raise BadContentType
        if media_type(value) not in OBJECT_ENDINGS:
            raise UnsupportedMediaType
        return str(Pattern(PRINTABLE)(value))
