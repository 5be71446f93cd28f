"""The base of everything in a scenario that has keys."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """Base of everything in a scenario that has keys; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
