"""Base class of response models (pydantic): a response has the declared fields and no other."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """Marks a field of a response model as a secret: `Annotated[str, ShownOnce()]`.

    The field is in the first answer only. The answer that is stored for an idempotency key has no such field.
    """


class ResponseModel(BaseModel):
    """Response data, read from the attributes of what a service returns. Undeclared attributes are left out."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    leaves_out_none: ClassVar[bool] = False
    """Whether a field is absent from the JSON instead of null, if its default is None."""

    def as_json(self, *, exclude: set[str]) -> bytes:
        """Return the JSON, without the fields of `exclude`."""
        fields = type(self).model_fields.items() if self.leaves_out_none else ()
        absent = {name for name, field in fields if field.default is None and getattr(self, name) is None}
        return self.model_dump_json(exclude=absent | exclude).encode()

    @classmethod
    def secrets(cls) -> set[str]:
        """Return the names of the fields that are shown once."""
        return {name for name, field in cls.model_fields.items() if ShownOnce() in field.metadata}
