"""What takes long to import is imported beside the event loop, and only once."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import anyio.to_thread
import pytest

from mma_runtime import Agent, Runtime, Scenario, Ticket, TierOptions, Tiers
from mma_runtime.costs.budget import Budgets
from mma_runtime.errors import UnknownProvider
from mma_runtime.llm.pricing import PriceList, Rates
from mma_runtime.registry import Registry
from mma_runtime.registry.table import ProviderSpec
from mma_runtime.runtime import staffing
from mma_runtime.runtime.staffing import ProviderPool, Team, tier_settings
from mma_runtime.testing import FunctionProvider

SDK = """
import threading

from mma_runtime.testing import FunctionProvider

THREAD = threading.current_thread()


class Provider(FunctionProvider):
    def __init__(self, name, **options):
        super().__init__(lambda request: "done", name=name)
"""


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write a provider's module that nobody has imported; returns its name."""
    name = f"sdk_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(SDK)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield name
    sys.modules.pop(name, None)


async def test_a_providers_sdk_is_imported_in_a_thread_and_once(
    sdk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"mine": f"{sdk}:Provider"}
    monkeypatch.setattr("mma_runtime.registry.registry._installed", lambda: installed)
    async with Runtime(home=tmp_path, environment={}) as runtime:
        answer = await runtime.ask(Agent("mine:m"), "Hello?")
        assert answer.output == "done"
        assert sys.modules[sdk].THREAD is not threading.current_thread()

        monkeypatch.setattr(anyio.to_thread, "run_sync", None)
        assert (await runtime.ask(Agent("mine:m"), "Hello?")).output == "done"


async def test_a_provider_that_cannot_be_imported_is_named() -> None:
    registry = Registry([ProviderSpec(name="mine", target="no_such_sdk:Provider")])

    with pytest.raises(UnknownProvider, match="no_such_sdk"):
        await ProviderPool().load(["mine"], registry)


class Prices(PriceList):
    """Notes in which threads it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []

    def rates(self, provider: str, model: str) -> Rates | None:
        self.threads.append(threading.current_thread())
        return super().rates(provider, model)


@pytest.mark.parametrize(
    ("stands_for", "loaded", "asked"),
    [
        pytest.param({"m": "openai:gpt-4o-mini"}, False, 1, id="not loaded"),
        pytest.param({"m": "openai:gpt-4o-mini"}, True, 0, id="loaded"),
        pytest.param({}, False, 0, id="not wanted"),
    ],
)
async def test_prices_are_loaded_in_a_thread_where_they_are_wanted(
    stands_for: dict[str, str],
    asked: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    loaded: bool,
) -> None:
    monkeypatch.setattr(staffing, "is_loaded", lambda: loaded)
    prices = Prices()
    scenario = Scenario(
        tiers=Tiers(worker=TierOptions(model="openai:m")),
        tickets=(Ticket(id="a", description="x"),),
    )
    double = FunctionProvider(lambda _: "done", name="openai")
    double.priced_as = lambda model: (  # type: ignore[method-assign] # in a test
        *stands_for.get(model, f"openai:{model}").partition(":")[::2],
        bool(stands_for),
    )
    team = Team(
        tiers=tier_settings(scenario, Registry(), {}),
        providers={"openai": double},
        prices=prices,
        limits={},
        budgets=Budgets(),
    )

    await team.learn_prices()

    assert len(prices.threads) == asked
    assert threading.current_thread() not in prices.threads
