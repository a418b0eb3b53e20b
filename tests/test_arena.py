"""The competition: what a proposal is worth, and a file of results that nobody drops out of."""

import json
import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import generator
from torch import Tensor

from dualdiff import arena
from dualdiff.arena import BALL, Result, Tasks, enter, leaderboard, success, tasks
from dualdiff.members import stream
from dualdiff.robot.judge import column_of, oracle_places, success_rates, uniform_places
from dualdiff.robot.kinds import RADIUS, REACH, SIDE
from dualdiff.robot.scenes import fresh_scenes
from dualdiff.robot.tasks import execute
from dualdiff.robot.world import distance

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


# --- the file of results ------------------------------------------------------------------------


def made(value: float, **changes: Any) -> dict[str, Any]:
    """A result."""
    shares = {"success": value, "error": 0.02, "collision": 0.5, "out_of_reach": 0, "invalid": 0}
    return {**shares, "rows": 100, "tasks": 12, "game": "one", **changes}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return tmp_path / "board.json"


def names(board: Path) -> list[str]:
    return leaderboard(board)["name"].tolist()


def test_the_highest_success_stands_first(board: Path) -> None:
    assert len(leaderboard(board)) == 0
    for name, value in (("low", 0.2), ("high", 0.9), ("middle", 0.5)):
        table = enter(board, name, made(value))
    assert names(board) == ["high", "middle", "low"]
    assert table.equals(leaderboard(board))
    assert list(table.columns) == list(arena.COLUMNS)
    assert table["place"].tolist() == [1, 2, 3]


def test_equals_share_a_place_and_the_earlier_stands_first(board: Path) -> None:
    for name, value in (("zoe", 0.5), ("ann", 0.5), ("top", 0.6), ("last", 0.1)):
        enter(board, name, made(value))
    assert names(board) == ["top", "zoe", "ann", "last"]
    assert leaderboard(board)["place"].tolist() == [1, 2, 2, 4]
    enter(board, "last", made(0.5))
    assert names(board) == ["top", "zoe", "ann", "last"]
    assert leaderboard(board)["place"].tolist() == [1, 2, 2, 2]


def test_a_name_keeps_its_best(board: Path) -> None:
    enter(board, "ada", made(0.4, rows=40))
    enter(board, "bob", made(0.4))
    enter(board, " ada ", made(0.3, rows=30))
    assert leaderboard(board).iloc[0][["name", "rows"]].tolist() == ["ada", 40]
    enter(board, "ada", made(0.4, rows=99))  # not better, so the earlier one stays
    assert leaderboard(board).iloc[0][["name", "rows"]].tolist() == ["ada", 40]
    enter(board, "ada", made(0.5, rows=50))
    assert len(leaderboard(board)) == 2
    assert leaderboard(board).iloc[0][["name", "success", "rows"]].tolist() == ["ada", 0.5, 50]


def test_a_real_result_comes_back_to_the_last_digit(board: Path, floor: Result) -> None:
    enter(board, "uniform — Øre", floor)
    row = leaderboard(board).iloc[0].to_dict()
    assert row.pop("place") == 1 and row.pop("name") == "uniform — Øre"
    assert row == {name: floor[name] for name in row}  # type: ignore[literal-required]


def test_results_of_another_game_are_refused(board: Path) -> None:
    enter(board, "ada", made(0.4))
    with pytest.raises(ValueError, match="holds results of the game one, not of two"):
        enter(board, "bob", made(0.9, game="two"))
    assert names(board) == ["ada"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "two\nlines", "\x1b[31m", None, 7])
def test_wrong_names_are_refused(board: Path, name: Any) -> None:
    with pytest.raises(ValueError, match="name must be"):
        enter(board, name, made(0.4))
    assert not board.exists()


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (made(1.2), "success of a result must be a number from 0 to 1, not 1.2"),
        (made(math.nan), "success of a result"),
        (made(0.4, error=math.inf), "error of a result"),
        (made(0.4, success="0.4"), "success of a result"),
        (made(0.4, success=True), "success of a result"),
        (made(0.4, rows=0), "rows of a result"),
        (made(0.4, tasks=2.5), "tasks of a result"),
        (made(0.4, game=7), "game of a result"),
        ({"success": 0.4}, "it lacks error"),
        (0.4, "result must be what"),
        (None, "result must be what"),
    ],
)
def test_wrong_results_are_refused(board: Path, result: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        enter(board, "ada", result)
    assert not board.exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        enter(tmp_path / "nowhere" / "board.json", "ada", made(0.4))


DAMAGE = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not JSON": lambda text: "name,success\nada,0.4\n",
    "another JSON": lambda text: "[1, 2]",
    "another format": lambda text: text.replace("leaderboard 1", "leaderboard 2"),
    "no entries": lambda text: '{"format": "dualdiff leaderboard 1"}',
    "impossible": lambda text: text.replace("0.4", "4"),
    "not finite": lambda text: text.replace("0.4", "NaN"),
    "twice": lambda text: text.replace("bob", "ada"),
    "games": lambda text: text.replace('"one"', '"two"', 1),
    "unnamed": lambda text: text.replace('"name"', '"nom"', 1),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_reported_and_kept(board: Path, how: str) -> None:
    enter(board, "ada", made(0.4))
    enter(board, "bob", made(0.3))
    damaged = DAMAGE[how](board.read_text("utf-8"))
    assert damaged != board.read_text("utf-8")
    board.write_text(damaged, "utf-8")
    for attempt in (lambda: leaderboard(board), lambda: enter(board, "eve", made(0.9))):
        with pytest.raises(ValueError, match="damaged .* left as it is") as refused:
            attempt()
        assert str(board) in str(refused.value)
        assert board.read_text("utf-8") == damaged


def test_bytes_that_are_no_text_are_damage_too(board: Path) -> None:
    board.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ValueError, match="damaged"):
        leaderboard(board)
    assert board.read_bytes() == b"\xff\xfe\x00{"


def test_a_folder_in_its_place_is_reported(board: Path) -> None:
    board.mkdir()
    with pytest.raises(ValueError, match="is not a leaderboard"):
        leaderboard(board)


def test_the_file_is_sorted_plain_json(board: Path) -> None:
    for name, value in (("low", 0.2), ("high", 0.9)):
        enter(board, name, made(value))
    found = json.loads(board.read_text("utf-8"))
    assert [entry["name"] for entry in found["entries"]] == ["high", "low"]
    left = {path.name for path in board.parent.iterdir()}
    assert left <= {"board.json", "board.json.lock"}  # nothing temporary stays


def _enter_several(board: Path, who: int) -> None:
    for k in range(5):
        enter(board, f"{who}-{k}", made((7 * who + k) / 100))


def test_who_enters_at_the_same_time_is_not_lost(board: Path) -> None:
    """Of processes, and of threads of one."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_enter_several, [board] * 2, range(2)))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(_enter_several, [board] * 4, range(2, 6)))
    table = leaderboard(board)
    assert set(table["name"]) == {f"{who}-{k}" for who in range(6) for k in range(5)}
    assert table["success"].is_monotonic_decreasing
