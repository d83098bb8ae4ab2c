"""Cards: what goes out, made from nothing but the fields that they name."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class ResponseModel(BaseModel):
    """Something that goes out: only the fields that are named."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    leaves_out_none: ClassVar[bool] = False
    """Whether fields without a value are absent rather than null."""
