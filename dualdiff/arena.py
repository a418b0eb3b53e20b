"""The competition of the robot lab: proposals executed in fresh scenes, and a file of results.

A competitor is a function ``propose(features [n, 10], generator) -> targets [n, 2]``: world
positions from which the robot should reach a ball, one for every row of features. Only tensors and
a generator pass between it and its judge, so it may well be a proxy of a function elsewhere. The
seed decides tasks and scenes. Whoever knows it could draw the scenes too, so what counts is played
with a large one that nobody has seen; the name of a game does not tell its seed, unless by trying
all small ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import pandas as pd
import torch
from filelock import FileLock
from scipy.stats import t as student
from torch import Tensor

from dualdiff.members import stream
from dualdiff.robot.dataset import SPECIAL
from dualdiff.robot.judge import success_rates
from dualdiff.robot.kinds import KINDS, environment_of
from dualdiff.robot.scenes import draw_scenes
from dualdiff.robot.tasks import perform
from dualdiff.store import write
from dualdiff.train import one_thread

BALL = KINDS[SPECIAL]
TASKS = 60
"""Tasks of a game, about 500 rows."""
FORMAT = "dualdiff leaderboard 1"
LONGEST = 40
"""Characters of a name."""
PATIENCE = 60.0
"""Seconds to wait for others who write to the same file."""

Propose = Callable[[Tensor, torch.Generator], Tensor]


class Tasks(NamedTuple):
    """The rows of a game: features ``[n, 10]`` float32, and the number of each row's task."""

    features: Tensor
    task: Tensor


class Result(TypedDict):
    """What became of proposals: shares of the rows, and how many there were.

    ``error`` is the standard error of ``success`` over tasks; ``collision`` and ``out_of_reach``
    may hold together; ``game`` names the seed and the size, whose results can be compared.
    """

    success: float
    error: float
    collision: float
    out_of_reach: float
    invalid: float
    rows: int
    tasks: int
    game: str


SHARES = ("success", "collision", "out_of_reach", "invalid")
COLUMNS = ("place", "name", "success", "error", "collision", "out_of_reach", "rows", "tasks")


def _check_game(seed: int, size: int) -> None:
    for name, value in (("seed", seed), ("size", size)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} must be a whole number, not {value!r}")
    if size < 2:
        raise ValueError(f"size must be at least 2 tasks, for an error over tasks, not {size}")


def tasks(seed: int, size: int = TASKS) -> Tasks:
    """The moves to a ball in fresh tasks: what a robot sees before each of them.

    Parameters
    ----------
    seed : int
    size : int
        Tasks; each has up to nine moves to a ball.

    Raises
    ------
    ValueError
        For a seed or a size that is no whole number, and for fewer than two tasks with a move.
    """
    _check_game(seed, size)
    source = stream(seed, "arena tasks", size)
    with one_thread():
        moves = [
            (move.features, move.index)
            for move in perform(draw_scenes(environment_of(SPECIAL), size, source), source)
            if move.kind == BALL
        ]
    # A task whose first ball cannot be reached has none.
    if len({number for _, index in moves for number in index.tolist()}) < 2:
        raise ValueError(f"seed {seed} with size {size} has fewer than 2 tasks with a move")
    features, task = (torch.cat(parts) for parts in zip(*moves, strict=True))
    order = task.argsort(stable=True)  # task by task, each in the order of its moves
    return Tasks(features[order].float(), task[order])


def success(propose: Propose, seed: int, size: int = TASKS) -> Result:
    """Execute one proposal per row of a game in a fresh scene of its own.

    Scenes are those of :func:`dualdiff.robot.judge.success_rates`; a proposal outside the
    workspace is stopped at its wall, and one that is not finite fails.

    Parameters
    ----------
    propose : callable
        ``propose(features [n, 10], generator) -> targets [n, 2]``, world positions. It is called
        once.
    seed, size : int
        See :func:`tasks`.

    Raises
    ------
    ValueError
        For a wrong seed or size, and if what is proposed is no tensor of that shape.
    """
    game = tasks(seed, size)
    if not callable(propose):
        raise ValueError(f"propose must be a function, not {propose!r}")
    n = len(game.features)
    # A copy: what a function does to its arguments does not change what it is asked.
    targets = propose(game.features.clone(), stream(seed, "arena proposals"))
    places = _checked_targets(targets, n)
    scenes = stream(seed, "arena scenes")
    rates = success_rates(BALL, game.features, places[:, None], game.task, scenes)
    count = len(game.task.unique())
    margin = rates["success"].high - rates["success"].value
    shares = {name: rates[name].value for name in SHARES}
    return cast(
        Result,
        {
            **shares,
            "error": margin / float(student.ppf(0.975, count - 1)),
            "rows": n,
            "tasks": count,
            "game": hashlib.sha256(repr(("arena", seed, size)).encode()).hexdigest()[:12],
        },
    )


def _checked_targets(targets: Any, n: int) -> Tensor:
    """Proposals as float64 on the CPU, refused in any other shape than ``[n, 2]``."""
    if not isinstance(targets, Tensor):
        raise ValueError(
            f"propose must return a tensor of shape [{n}, 2], not a {type(targets).__name__}"
        )
    if targets.shape != (n, 2):
        raise ValueError(
            f"propose must return targets of shape [{n}, 2], one world position for every row of "
            f"features, not {list(targets.shape)}"
        )
    if targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"propose must return real numbers, not {targets.dtype}")
    return targets.detach().cpu().double()


# --- the file of results ----------------------------------------------------------------------


def enter(path: str | os.PathLike[str], name: str, result: Mapping[str, Any]) -> pd.DataFrame:
    """Write a result into a leaderboard; who is in it already keeps the better of both.

    The file is made if it is not there, and always replaced as a whole, under a lock: of several
    who enter at the same time nobody is lost. All its results are of one game.

    Parameters
    ----------
    path : path
        A JSON file in a folder that exists.
    name : str
        At most 40 printable characters.
    result : mapping
        Of :func:`success`.

    Returns
    -------
    DataFrame
        The board with it: see :func:`leaderboard`.

    Raises
    ------
    ValueError
        For a wrong name, a result that :func:`success` cannot have made, another game than the
        file's, and a damaged file, which is left as it is.
    """
    path, name, own = Path(path), _checked_name(name), _checked(result)
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} for the leaderboard {path.name}")
    with FileLock(path.with_name(path.name + ".lock"), timeout=PATIENCE):
        board = _read(path)
        game = next((known["game"] for known in board.values()), own["game"])
        if own["game"] != game:
            raise ValueError(
                f"{path} holds results of the game {game}, not of {own['game']}: only results "
                f"with the same seed and size can be compared"
            )
        before = board.get(name)
        if before is None or own["success"] > before["success"]:
            # At the end, so that of equals the one who came first stays ahead.
            board.pop(name, None)
            board[name] = own
            write(path, _encoded(_sorted(board)))
    return _table(_sorted(board))


def leaderboard(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The results of a file, the highest success first; without a file, none.

    Columns :data:`COLUMNS`. Equal successes share their place, the earlier one stands first.

    Raises
    ------
    ValueError
        If the file is damaged; it is left as it is.
    """
    return _table(_read(Path(path)))


Board = dict[str, Result]


def _sorted(board: Board) -> Board:
    return dict(sorted(board.items(), key=lambda item: -item[1]["success"]))


def _table(board: Board) -> pd.DataFrame:
    rows = [{"name": name, **result} for name, result in board.items()]
    table = pd.DataFrame(rows, columns=[*COLUMNS[1:]])
    place = table["success"].rank(ascending=False, method="min").astype(int)
    table.insert(0, "place", place)
    return table


def _encoded(board: Board) -> bytes:
    entries = [{"name": name, **result} for name, result in board.items()]
    return json.dumps({"format": FORMAT, "entries": entries}, indent=1).encode() + b"\n"


def _read(path: Path) -> Board:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"it does not say {FORMAT!r}")
        board = {_checked_name(e["name"]): _checked(e) for e in found["entries"]}
        if len(board) != len(found["entries"]):
            raise ValueError("a name is in it twice")
        if len({result["game"] for result in board.values()}) > 1:
            raise ValueError("its results are of several games")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"{path} is not a leaderboard, or damaged ({error}). It was left as it is: repair it, "
            f"or move it away and enter the results again"
        ) from error
    return _sorted(board)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= LONGEST:
        raise ValueError(f"name must be a text of 1 to {LONGEST} characters, not {name!r}")
    if not name.isprintable():
        raise ValueError(f"name must be one line of printable characters, not {name!r}")
    return name.strip()


def _checked(result: Any) -> Result:
    """A result as plain numbers, refused if :func:`success` cannot have made it."""
    if not isinstance(result, Mapping):
        raise ValueError(f"result must be what success() returns, not {result!r}")
    missing = [name for name in Result.__annotations__ if name not in result]
    if missing:
        raise ValueError(f"result must be what success() returns; it lacks {', '.join(missing)}")
    for name in (*SHARES, "error"):
        value = result[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and 0 <= value <= 1):
            raise ValueError(f"{name} of a result must be a number from 0 to 1, not {value!r}")
    for name in ("rows", "tasks"):
        value = result[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} of a result must be a number from 1 on, not {value!r}")
    if not isinstance(result["game"], str):
        raise ValueError(f"game of a result must be a text, not {result['game']!r}")
    return cast(Result, {name: result[name] for name in Result.__annotations__})
