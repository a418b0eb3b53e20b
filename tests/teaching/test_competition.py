"""The competition: what a proposal is worth, and who stands where."""

import math
from typing import Any

import pytest
import torch
from conftest import generator
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dualdiff.randomness import stream
from dualdiff.robot.judge import column_of, oracle_places, success_rates, uniform_places
from dualdiff.robot.kinds import RADIUS, REACH, SIDE
from dualdiff.robot.scenes import fresh_scenes
from dualdiff.robot.tasks import execute
from dualdiff.robot.world import distance
from dualdiff.teaching import competition
from dualdiff.teaching.competition import BALL, Result, Tasks, leaderboard, success, tasks

SEED, SIZE = 11, 30
SIGMAS = 3.29
"""One run in a thousand is further from the truth than so many standard errors."""


def uniform(features: Tensor, source: torch.Generator) -> Tensor:
    """The floor."""
    return uniform_places(BALL, features, 1, source)[:, 0]


def oracle(features: Tensor, source: torch.Generator) -> Tensor:
    """The ceiling of whoever draws from the data's law."""
    return oracle_places(BALL, features, 1, source)[:, 0]


@pytest.fixture(scope="module")
def game() -> Tasks:
    return tasks(SEED, SIZE)


@pytest.fixture(scope="module")
def floor() -> Result:
    return success(uniform, SEED, SIZE)


# --- games --------------------------------------------------------------------------------------


def test_the_rows_of_a_game_are_moves_to_a_ball(game: Tasks) -> None:
    n = len(game.features)
    assert game.features.shape == (n, 10) and game.task.shape == (n,)
    x, y, w, h, _, held, robot_x, robot_y, _, free = game.features.unbind(1)
    assert bool((w == h).all()) and BALL.width[0] <= float(w.min()) <= float(w.max()) <= 0.5
    assert bool((held == 0).all()) and bool((free == 1).all())
    for place in (x, y, robot_x, robot_y):
        assert 0 <= float(place.min()) and float(place.max()) <= SIDE
    assert bool((game.task.diff() >= 0).all())
    assert 2 <= len(game.task.unique()) <= SIZE
    assert int(game.task.bincount().max()) <= 9


def test_the_seed_decides_the_game(game: Tasks) -> None:
    again, other = tasks(SEED, SIZE), tasks(SEED + 1, SIZE)
    assert torch.equal(again.features, game.features) and torch.equal(again.task, game.task)
    assert not torch.equal(other.features[:5], game.features[:5])


@pytest.mark.parametrize(("seed", "size"), [(1.5, 5), (True, 5), ("1", 5), (1, 1), (1, 2.0)])
def test_games_that_cannot_be_played_are_refused(seed: Any, size: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number|at least 2 tasks"):
        tasks(seed, size)


# --- what a proposal is worth -------------------------------------------------------------------


def test_the_result_is_that_of_the_studys_judge(game: Tasks, floor: Result) -> None:
    places = uniform(game.features, stream(SEED, "arena proposals"))
    scenes = stream(SEED, "arena scenes")
    rates = success_rates(BALL, game.features, places[:, None], game.task, scenes)
    for name in ("success", "collision", "out_of_reach", "invalid"):
        assert floor[name] == pytest.approx(rates[name].value, abs=1e-12)  # type: ignore[literal-required]
    assert floor["rows"] == len(game.features)
    assert floor["tasks"] == len(game.task.unique())
    # Residuals of a task are added up before they are squared.
    flags = success_flags(game, places)
    residuals = torch.zeros(SIZE, dtype=torch.float64)
    residuals.index_add_(0, game.task, flags - flags.mean())
    g = floor["tasks"]
    error = math.sqrt(g / (g - 1) * float((residuals**2).sum())) / len(flags)
    assert floor["error"] == pytest.approx(error)


def success_flags(game: Tasks, places: Tensor) -> Tensor:
    """The scenes of the game once more, and which of the places succeed in them."""
    scenes = fresh_scenes(BALL, game.features, stream(SEED, "arena scenes"))
    return execute(scenes, BALL, column_of(BALL), places[:, None]).success[:, 0].double()


def test_what_the_oracle_draws_beats_uniform_draws(floor: Result) -> None:
    best = success(oracle, SEED, SIZE)
    error = math.hypot(best["error"], floor["error"])
    assert best["success"] - floor["success"] > SIGMAS * error
    assert best["out_of_reach"] == 0  # it always stands within reach; other objects are the risk


def test_what_can_never_succeed_does_not() -> None:
    """Floor of all floors: on the ball, beyond reach, nowhere."""

    def on_it(features: Tensor, source: torch.Generator) -> Tensor:
        return features[:, :2]

    def far_from_it(features: Tensor, source: torch.Generator) -> Tensor:
        return SIDE * (features[:, :2] < SIDE / 2)

    def nowhere(features: Tensor, source: torch.Generator) -> Tensor:
        return torch.full((len(features), 2), math.nan)

    assert success(on_it, SEED, SIZE)["collision"] == 1
    assert success(far_from_it, SEED, SIZE)["out_of_reach"] == 1
    lost = success(nowhere, SEED, SIZE)
    assert lost["success"] == 0 and lost["invalid"] == 1 and lost["error"] == 0


def test_a_competitor_gets_copies_and_a_generator(game: Tasks, floor: Result) -> None:
    """What it does to its arguments, or how it counts its numbers, changes nothing."""

    def careless(features: Tensor, source: torch.Generator) -> Tensor:
        targets = uniform(features, source)
        features.zero_()
        return targets.requires_grad_()

    assert success(careless, SEED, SIZE) == floor

    def whole_numbers(features: Tensor, source: torch.Generator) -> Tensor:
        return features[:, :2].round().long()

    assert success(whole_numbers, SEED, SIZE)["invalid"] == 0


def test_the_same_seed_gives_the_same_result(floor: Result) -> None:
    assert success(uniform, SEED, SIZE) == floor
    other = success(uniform, SEED + 1, SIZE)
    assert other["game"] != floor["game"] and other["success"] != floor["success"]
    assert success(uniform, SEED, SIZE + 1)["game"] != floor["game"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "not a NoneType"),
        ([[1.0, 2.0]], "not a list"),
        (torch.zeros(3, 2), r"not \[3, 2\]"),
        ("flat", r"\[\d+, 2\], one world position"),
        ("complex64", "must return real numbers"),
        ("bool", "must return real numbers"),
    ],
)
def test_other_answers_are_refused(answer: Any, says: str) -> None:
    def propose(features: Tensor, source: torch.Generator) -> Any:
        if answer == "flat":
            return torch.zeros(2 * len(features))
        if isinstance(answer, str):
            return torch.zeros(len(features), 2, dtype=getattr(torch, answer))
        return answer

    with pytest.raises(ValueError, match=says):
        success(propose, SEED, 2)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ValueError, match="propose must be a function, not None"):
        success(None, SEED, 2)  # type: ignore[arg-type]


def test_balls_are_reached_from_where_the_geometry_says(game: Tasks) -> None:
    """Whoever succeeds stands two to four away, the walls apart."""
    places = oracle(game.features, generator())
    gap = distance(places, game.features[:, :5].double())
    assert float(gap.min()) > RADIUS and float(gap.max()) <= REACH


# --- the leaderboard ----------------------------------------------------------------------------


def made(value: float, **changes: Any) -> dict[str, Any]:
    """A result."""
    shares = {"success": value, "error": 0.02, "collision": 0.5, "out_of_reach": 0, "invalid": 0}
    return {**shares, "rows": 100, "tasks": 12, "game": "one", **changes}


@given(st.dictionaries(st.text(max_size=5), st.sampled_from([0.0, 0.2, 0.5, 1.0]), max_size=8))
def test_the_highest_success_stands_first_and_equals_share_a_place(
    values: dict[str, float],
) -> None:
    table = leaderboard({name: made(value) for name, value in values.items()})
    assert list(table.columns) == list(competition.COLUMNS)
    assert table["name"].tolist() == sorted(values, key=lambda name: -values[name])  # stable
    for _, row in table.iterrows():
        assert row["success"] == values[row["name"]]
        assert row["place"] == 1 + sum(value > row["success"] for value in values.values())


def test_a_real_result_stands_there_to_the_last_digit(floor: Result) -> None:
    row = leaderboard({"uniform — Øre": floor}).iloc[0].to_dict()
    assert row.pop("place") == 1 and row.pop("name") == "uniform — Øre"
    assert row == {name: floor[name] for name in row}  # type: ignore[literal-required]


def test_results_of_several_games_are_refused() -> None:
    with pytest.raises(ValueError, match="several games cannot be compared: one, two"):
        leaderboard({"ada": made(0.4), "bob": made(0.9, game="two")})
