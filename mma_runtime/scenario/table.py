"""The base of everything in a scenario that has keys."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

MOST = 10**12
"""The most that any number may be; more is a slip of the finger."""


class Table(BaseModel):
    """Base of everything in a scenario that has keys; unknown keys are errors."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)
