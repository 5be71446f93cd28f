from mma_runtime.events import (
    HintGiven,
    ModelCallFinished,
    Origin,
    OutputCut,
    ToolCallFinished,
)
from mma_runtime.firewall import Firewall, FirewallMeter

WORKER = Origin(tier="worker", ticket="a")


def said(tier: str, tokens: int) -> ModelCallFinished:
    return ModelCallFinished(
        origin=Origin(tier=tier),
        call="c",
        model="m:x",
        finish="stop",
        input_tokens=1_000,
        output_tokens=tokens,
        usd=None,
        billed=False,
        seconds=0.0,
    )


def test_what_workers_say_and_tools_put_out_is_counted_once() -> None:
    meter = FirewallMeter()
    tool = ToolCallFinished(
        origin=WORKER,
        call="c",
        tool="read_file",
        is_error=False,
        characters=8_000,
        seconds=0,
    )

    meter.put_out("pytest -q", "x" * 40_000)
    for event in (
        said("worker", 100),
        said("qa", 20),
        said("tech_lead", 5_000),
        tool,
        OutputCut(origin=WORKER, what="read_file", characters=4_000),
        # Both speak of an output that has been counted.
        HintGiven(origin=WORKER, hint="h", tokens=1, raw_characters=9_999),
        OutputCut(origin=WORKER, what="pytest -q", characters=3_000),
    ):
        meter.note(event)

    meter.went_up("d" * 400, "s" * 200)

    assert meter.report() == Firewall(produced=120 + 12_000 // 4 + 10_000, passed=150)


def test_nothing_produced_is_nothing_kept_back() -> None:
    assert FirewallMeter().report().kept_back == 0.0


def test_there_is_no_share_where_more_went_up_than_was_produced() -> None:
    assert Firewall(produced=10, passed=20).kept_back is None
    assert Firewall(produced=10, passed=10).kept_back == 0.0
