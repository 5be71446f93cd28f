import anyio
import pytest
from anyio.lowlevel import checkpoint

from mma_runtime.errors import CommandFailed, ConfigurationError, ToolFailed
from mma_runtime.events import (
    Event,
    Origin,
    OutputCut,
    ToolCallFinished,
    ToolCallStarted,
)
from mma_runtime.llm.chat import Image, Text, ToolCall
from mma_runtime.tools import OUTPUT_LIMIT, RoundResults, Toolbox, tool
from mma_runtime.tools.toolbox import MAX_CONCURRENT_CALLS

ORIGIN = Origin(run="r", ticket="T1")


class Bench:
    """Tools that note when they begin and end."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.running = 0
        self.most = 0

    @tool(read_only=True)
    async def look(self, at: str = "") -> str:
        """Look."""
        await self._work(f"look {at}".strip())
        return f"saw {at}"

    @tool
    async def change(self, what: str = "") -> str:
        """Change."""
        await self._work(f"change {what}".strip())
        return f"changed {what}"

    @tool
    async def fail(self, how: str) -> str:
        """Fail."""
        match how:
            case "told":
                raise ToolFailed("the door is locked")
            case "command":
                raise CommandFailed("make", 2, "x" * 20_000)
            case _:
                raise ZeroDivisionError("by zero")

    async def _work(self, what: str) -> None:
        self.log.append(f"{what} begins")
        self.running += 1
        self.most = max(self.most, self.running)
        await checkpoint()
        self.running -= 1
        self.log.append(f"{what} ends")

    def box(self) -> Toolbox:
        return Toolbox([self.look, self.change, self.fail])


def call(name: str, number: int = 1, **arguments: object) -> ToolCall:
    return ToolCall(f"c{number}", name, arguments)


async def run(box: Toolbox, *calls: ToolCall) -> RoundResults:
    return await box.run(calls, origin=ORIGIN, emit=lambda event: None)


async def answer(box: Toolbox, one: ToolCall) -> str:
    result = (await run(box, one)).results[0]
    assert result.is_error
    assert isinstance(result.content[0], Text)
    return result.content[0].text


async def test_one_call_gives_one_result_and_two_events() -> None:
    events: list[object] = []

    done = (
        await Bench()
        .box()
        .run([call("look", at="it")], origin=ORIGIN, emit=events.append)
    )

    assert done.results[0].content == (Text("saw it"),)
    assert (done.results[0].call_id, done.results[0].name) == ("c1", "look")
    assert not done.results[0].is_error
    assert done.failures == ()
    assert [type(event) for event in events] == [ToolCallStarted, ToolCallFinished]
    assert isinstance(events[1], ToolCallFinished)
    assert events[1].origin is ORIGIN
    assert events[1].characters == len("saw it")
    assert events[1].seconds >= 0


async def test_no_calls_give_no_results() -> None:
    assert (await run(Bench().box())).results == ()


async def test_readers_run_together_and_writers_alone_in_their_place() -> None:
    bench = Bench()

    done = await run(
        bench.box(),
        call("look", 1, at="a"),
        call("look", 2, at="b"),
        call("change", 3, what="c"),
        call("change", 4, what="d"),
        call("look", 5, at="e"),
    )

    assert [result.call_id for result in done.results] == ["c1", "c2", "c3", "c4", "c5"]
    assert sorted(bench.log[:2]) == ["look a begins", "look b begins"]
    assert bench.log[4:] == [
        "change c begins",
        "change c ends",
        "change d begins",
        "change d ends",
        "look e begins",
        "look e ends",
    ]


async def test_readers_run_under_a_limit_and_answer_in_the_order_of_the_calls() -> None:
    bench = Bench()

    done = await run(bench.box(), *(call("look", n, at=str(n)) for n in range(30)))

    assert bench.most == MAX_CONCURRENT_CALLS
    assert [result.content for result in done.results] == [
        (Text(f"saw {n}"),) for n in range(30)
    ]


async def test_a_tool_that_fails_tells_the_model_why() -> None:
    box = Bench().box()

    assert await answer(box, call("fail", how="told")) == "the door is locked"
    assert await answer(box, call("fail", how="odd")) == (
        "the tool failed: ZeroDivisionError: by zero"
    )


async def test_a_failing_reader_leaves_the_others_alone() -> None:
    done = await run(
        Bench().box(), call("look", 1), call("look", 2, att=1), call("look", 3)
    )

    assert [result.is_error for result in done.results] == [False, True, False]


async def test_an_unknown_tool_is_answered_with_a_near_miss_and_the_names() -> None:
    said = await answer(Bench().box(), call("lok"))

    assert "there is no tool 'lok'; did you mean `look`?" in said
    assert "look, change, fail" in said


async def test_unknown_tools_and_an_empty_toolbox_are_answered() -> None:
    assert "The tools are: none" in await answer(Toolbox([]), call("look"))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ('{"at": "a', "not valid JSON: Unterminated string"),
        ('["a"]', "one JSON object, not a list"),
        ("", "not valid JSON"),
    ],
)
async def test_broken_arguments_are_answered_with_what_is_wrong(
    raw: str, said: str
) -> None:
    assert said in await answer(Bench().box(), ToolCall("c1", "look", None, raw))


async def test_a_failed_command_comes_beside_the_results_with_all_its_output() -> None:
    done = await run(Bench().box(), call("look", 1), call("fail", 2, how="command"))

    assert [(failed.command, failed.exit_code) for failed in done.failures] == [
        ("make", 2)
    ]
    assert len(done.failures[0].output) == 20_000
    content = done.results[1].content[0]
    assert isinstance(content, Text)
    assert content.text.startswith("exit code 2\nxxx")
    assert len(content.text) <= OUTPUT_LIMIT


async def test_long_output_is_cut_in_the_middle_and_kept_whole() -> None:
    kept: list[str] = []

    async def keep(text: str) -> str:
        kept.append(text)
        return "out.txt"

    @tool
    async def chatter() -> tuple[str, Image]:
        return ("\n".join(str(n) for n in range(5_000)), Image("image/png", b"png"))

    done = await run(Toolbox([chatter], keep=keep), call("chatter"))

    text, image = done.results[0].content
    assert isinstance(text, Text)
    assert len(text.text) <= OUTPUT_LIMIT
    assert text.text.startswith("0\n1\n2\n")
    assert text.text.endswith("\n4998\n4999")
    assert "are left out; the whole output is in 'out.txt'" in text.text
    assert image == Image("image/png", b"png")
    missing = int(text.text.split("[… ")[1].split(" ")[0].replace(",", ""))
    shown = len(text.text) - len(text.text.split("\n[…")[1].split("…]\n")[0]) - 6
    assert missing == len(kept[0]) - shown


async def test_what_a_cut_left_out_is_an_event() -> None:
    @tool
    async def chatter() -> str:
        return "x" * 50_000

    events: list[Event] = []
    done = await Toolbox([chatter]).run(
        [call("chatter")], origin=ORIGIN, emit=events.append
    )

    (cut,) = [event for event in events if isinstance(event, OutputCut)]
    content = done.results[0].content[0]
    assert isinstance(content, Text)
    assert cut.what == "chatter"
    assert f"{cut.characters:,} characters from line 1 on" in content.text


async def test_without_a_place_to_keep_it_the_model_is_told_that_the_rest_is_lost() -> (
    None
):
    @tool
    async def chatter() -> str:
        return "x" * 50_000

    done = await run(Toolbox([chatter]), call("chatter"))

    content = done.results[0].content[0]
    assert isinstance(content, Text)
    assert "the rest is lost; ask for less" in content.text


async def test_output_at_the_limit_is_not_cut() -> None:
    @tool
    async def chatter() -> str:
        return "x" * OUTPUT_LIMIT

    done = await run(Toolbox([chatter]), call("chatter"))

    assert done.results[0].content == (Text("x" * OUTPUT_LIMIT),)


async def test_cancellation_passes_through_and_begins_no_further_call() -> None:
    begun = anyio.Event()
    log: list[str] = []

    @tool
    async def hang() -> None:
        begun.set()
        await anyio.sleep_forever()

    @tool
    async def note() -> None:
        log.append("ran")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(run, Toolbox([hang, note]), call("hang"), call("note"))
            await begun.wait()
            group.cancel_scope.cancel()

    assert log == []


def test_two_tools_of_one_name_are_refused() -> None:
    bench = Bench()

    with pytest.raises(ConfigurationError, match="two tools are named 'look'"):
        Toolbox([bench.look, bench.look])


def test_a_toolbox_shows_its_names_and_specs_in_order() -> None:
    box = Bench().box()

    assert box.names == ("look", "change", "fail")
    assert tuple(spec.name for spec in box.specs) == box.names
