"""Base class of response models (pydantic): a response has the declared fields and no other."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class ResponseModel(BaseModel):
    """Response data, read from the attributes of what a service returns. Undeclared attributes are left out."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    leaves_out_none: ClassVar[bool] = False
    """Whether a field with the value None is absent from the JSON instead of null."""
