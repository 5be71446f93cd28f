"""The page names all that is traced and measured, with its units."""

import re
from pathlib import Path
from typing import Any

import pytest

from mma_runtime.telemetry import names
from mma_runtime.telemetry.instruments import Instruments

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")
METRIC = re.compile(r"^\| `([a-z_.]+)` \| [a-z -]+ \| `([^`]+)` \|", re.MULTILINE)
ATTRIBUTES = [
    value
    for name, value in vars(names).items()
    if name.isupper() and str(value).startswith(("gen_ai.", "mma.", "error."))
]


class Meter:
    """Takes down what is made."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def create_histogram(self, name: str, *, unit: str, **_: object) -> None:
        self.made.append((name, unit))

    create_counter = create_up_down_counter = create_histogram


def test_the_table_of_metrics_is_complete_and_has_their_units() -> None:
    meter: Any = Meter()

    Instruments(meter)

    assert METRIC.findall(PAGE) == meter.made


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_attribute_is_named(attribute: str) -> None:
    parts = attribute.split(".")
    shortened = [f"`….{'.'.join(parts[place:])}`" for place in range(1, len(parts))]

    assert any(form in PAGE for form in (f"`{attribute}`", *shortened))
