"""The competition of the robot lab: proposals executed in fresh scenes, and who did it best.

A competitor is a function ``propose(features [n, 10], generator) -> targets [n, 2]``: world
positions from which the robot should reach a ball, one for every row of features. Only tensors and
a generator pass between it and its judge, so it may well be a proxy of a function elsewhere. The
seed decides tasks and scenes. Whoever knows it could draw the scenes too, so what counts is played
with a large one that nobody has seen; the name of a game does not tell its seed, unless by trying
all small ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict, cast

import pandas as pd
import torch
from scipy.stats import t as student
from torch import Tensor

from dualdiff.randomness import one_thread, stream
from dualdiff.robot.dataset import SPECIAL
from dualdiff.robot.judge import success_rates
from dualdiff.robot.kinds import KINDS, environment_of
from dualdiff.robot.scenes import draw_scenes
from dualdiff.robot.tasks import perform

BALL = KINDS[SPECIAL]
TASKS = 60
"""Tasks of a game, about 500 rows."""

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


def leaderboard(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Results by name, the highest success first.

    Columns :data:`COLUMNS`. Equal successes share their place, the earlier one stands first.

    Parameters
    ----------
    results : mapping
        What :func:`success` has returned, by name.

    Raises
    ------
    ValueError
        If they are of several games: only results with the same seed and size can be compared.
    """
    if len(games := {result["game"] for result in results.values()}) > 1:
        raise ValueError(f"results of several games cannot be compared: {', '.join(sorted(games))}")
    rows = [{**result, "name": name} for name, result in results.items()]
    table = pd.DataFrame(rows, columns=[*COLUMNS[1:]])
    table = table.sort_values("success", ascending=False, kind="stable", ignore_index=True)
    place = table["success"].rank(ascending=False, method="min").astype(int)
    table.insert(0, "place", place)
    return table
