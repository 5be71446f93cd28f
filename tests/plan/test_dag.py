import pytest

from mma_runtime.plan.dag import plan_problems


def test_a_plan_in_which_everything_can_run_has_no_problems() -> None:
    assert plan_problems([("a", ["b", "c"]), ("b", ["c"]), ("c", [])]) == []
    assert plan_problems([]) == []


@pytest.mark.parametrize(
    ("plan", "problems"),
    list[tuple[list[tuple[str, list[str]]], list[str]]](
        [
            (
                [("a", []), ("b", []), ("a", [])],
                ["the id 'a' is used twice; each ticket needs its own"],
            ),
            ([("a", ["a"])], ["ticket 'a' depends on itself"]),
            (
                [("stub", []), ("b", ["stbu"])],
                [
                    (
                        "ticket 'b' depends on 'stbu', which is not in the plan;"
                        " did you mean `stub`?"
                    )
                ],
            ),
            (
                [("a", ["b"]), ("b", ["c"]), ("c", ["a"])],
                ["these tickets wait for each other in a circle: a → b → c → a"],
            ),
        ]
    ),
)
def test_each_problem_of_a_plan_is_told(
    plan: list[tuple[str, list[str]]], problems: list[str]
) -> None:
    assert plan_problems(plan) == problems


def test_every_circle_of_a_plan_is_told() -> None:
    plan = [("a", ["b"]), ("b", ["a"]), ("c", ["d"]), ("d", ["c"]), ("e", ["a"])]

    assert sorted(plan_problems(plan)) == [
        "these tickets wait for each other in a circle: a → b → a",
        "these tickets wait for each other in a circle: c → d → c",
    ]


def test_a_circle_is_found_beside_the_other_problems() -> None:
    plan = [("a", ["b", "x"]), ("b", ["a", "b"])]

    assert len(plan_problems(plan)) == 3
