"""Rows of the robot's moves: generated in chunks, kept in the store, split by task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff.experiments.definitions import digest
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trained import progress_bar
from dualdiff.experiments.workers import check_jobs, in_processes
from dualdiff.randomness import one_thread, stream
from dualdiff.robot.kinds import ENVIRONMENTS, FEATURES, SIDE, TYPES
from dualdiff.robot.scenes import draw_scenes
from dualdiff.robot.tasks import perform, position
from dualdiff.robot.world import centres, rotated, to_world

CHUNK = 2_000
"""Tasks that share one stream of random numbers and one file."""
OFFSETS = ("ox", "oy")
PLACES = ("x", "y")
COLUMNS = (*FEATURES, *OFFSETS, *PLACES, "type", "task", "goals", "draws")
"""The ten features; the target as the simulator asks for it and, clipped, in the workspace; index
of the object's type in :data:`dualdiff.robot.kinds.TYPES`; task; how many goals the task began
with; draws that the oracle needed."""
FRAMES = ("object", "world", "metric")
"""Coordinates of the target.

``object``: (ox, oy) in units of the object's sides, from its corner, in its axes (the simulator's
own parameter); ``world``: the workspace, clipped to it; ``metric``: from the object's centre, in
its axes, in units of length.
"""


def encode(frame: str, features: Tensor, offsets: Tensor) -> Tensor:
    """Offsets ``[n, 2]`` of moves with ``features [n, 10]`` as targets of a frame, ``[n, 2]``.

    Raises
    ------
    ValueError
        For an unknown frame.
    """
    _check_frame(frame)
    if frame == "object":
        return offsets
    if frame == "world":
        return position(offsets, features[:, :5]).clamp(0, SIDE)
    return (offsets - 0.5) * features[:, 2:4]


def decode(frame: str, features: Tensor, targets: Tensor) -> Tensor:
    """World positions, not clipped, of targets of a frame: the inverse of :func:`encode`.

    ``features [..., 10]`` and ``targets [..., 2]`` broadcast.
    """
    _check_frame(frame)
    rectangles = features[..., :5]
    if frame == "object":
        return position(targets, rectangles)
    if frame == "world":
        return targets
    return to_world(targets + rectangles[..., 2:4] / 2, rectangles)


def from_world(frame: str, features: Tensor, places: Tensor) -> Tensor:
    """World positions ``[..., 2]`` as targets of a frame, as far as nothing was clipped."""
    _check_frame(frame)
    if frame == "world":
        return places
    rectangles = features[..., :5]
    metric = rotated(places - centres(rectangles), -rectangles[..., 4])
    return metric if frame == "metric" else metric / rectangles[..., 2:4] + 0.5


def _check_frame(frame: str) -> None:
    if frame not in FRAMES:
        raise ValueError(f"frame must be one of {', '.join(FRAMES)}, not {frame!r}")


# --- generation -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunk:
    """Tasks ``first .. first + n - 1`` of one environment: the unit of generation."""

    environment: str
    first: int
    n: int
    seed: int

    def config(self) -> dict[str, Any]:
        """All that its rows depend on, as JSON."""
        own = {"environment": self.environment, "first": self.first, "tasks": self.n}
        return {
            **own,
            "seed": self.seed,
            "environments": digest(ENVIRONMENTS),
            "code": version_of(Chunk),
            **versions(),
        }

    def table(self, store: Store) -> pd.DataFrame:
        """Its rows, made or loaded; columns :data:`COLUMNS`."""
        return store.table("robot_rows", self.config(), self._make)

    def _make(self) -> pd.DataFrame:
        environment = ENVIRONMENTS[self.environment]
        # Tasks of all environments have numbers of their own.
        place_of_environment = list(ENVIRONMENTS).index(self.environment)
        source = stream(self.seed, "robot", self.environment, self.first, self.n)
        with one_thread():
            scenes = draw_scenes(environment, self.n, source)
            goals = scenes.present[:, 1 : 1 + scenes.goals].sum(1)
            numbers, whole = [], []
            for move in perform(scenes, source):
                index, m = move.index, len(move.index)
                place = position(move.offsets, move.features[:, :5]).clamp(0, SIDE)
                numbers.append(torch.cat([move.features, move.offsets, place], dim=1))
                task = (self.first + index) * len(ENVIRONMENTS) + place_of_environment
                kind = torch.full((m,), TYPES.index(move.kind.name))
                whole.append(torch.stack([kind, task, goals[index], move.draws], dim=1))
        floats = pd.DataFrame(torch.cat(numbers).float().numpy(), columns=[*COLUMNS[:14]])
        rest = torch.cat(whole).numpy()
        for name, column in zip(COLUMNS[14:], rest.T, strict=True):
            floats[name] = column.astype(np.int8 if name in ("type", "goals") else np.int32)
        # Task by task, each in the order of its moves.
        return floats.sort_values("task", kind="stable", ignore_index=True)


def chunks(tasks: int, seed: int, environments: Iterable[str] = ENVIRONMENTS) -> list[Chunk]:
    """The chunks of ``tasks`` tasks per environment.

    Raises
    ------
    ValueError
        For fewer than one task or an unknown environment.
    """
    if tasks < 1:
        raise ValueError(f"tasks must be at least 1, not {tasks}")
    names = list(environments)
    for name in names:
        if name not in ENVIRONMENTS:
            raise ValueError(f"environment must be one of {'; '.join(ENVIRONMENTS)}, not {name!r}")
    return [
        Chunk(name, first, min(CHUNK, tasks - first), seed)
        for name in names
        for first in range(0, tasks, CHUNK)
    ]


def _generate(chunk: Chunk, store: Store) -> int:
    return len(chunk.table(store))


def generate(
    tasks: int,
    seed: int,
    *,
    store: Store,
    environments: Iterable[str] = ENVIRONMENTS,
    jobs: int = 1,
    quiet: bool = True,
) -> pd.DataFrame:
    """The rows of ``tasks`` tasks in each environment, made or loaded; columns :data:`COLUMNS`.

    Every chunk is stored as it is done, so an interrupted generation goes on where it stopped, and
    the rows do not depend on the number of ``jobs``.

    Parameters
    ----------
    tasks : int
        Per environment; 50,000 give about the thesis's number of rows.
    seed : int
    store : Store
    environments : iterable of str
        All five by default.
    jobs : int
        Processes.
    quiet : bool
        No progress bar.

    Raises
    ------
    ValueError
        For numbers below 1 or an unknown environment.
    """
    todo = chunks(tasks, seed, environments)
    check_jobs(jobs)
    with progress_bar(sum(chunk.n for chunk in todo), "robot: tasks", quiet) as bar:
        if jobs > 1:
            missing = [
                c for c in todo if not store.path("robot_rows", c.config(), "parquet").exists()
            ]
            for chunk, _ in in_processes(partial(_generate, store=store), missing, jobs):
                bar.update(chunk.n)
        tables = []
        for chunk in todo:
            tables.append(chunk.table(store))
            bar.update(chunk.n if jobs == 1 else 0)
    return pd.concat(tables, ignore_index=True)


# --- splits -----------------------------------------------------------------------------------


class Split(NamedTuple):
    """Rows of the general model, of the specialised one, and of the test; no task is in two."""

    general: pd.DataFrame
    specialised: pd.DataFrame
    test: pd.DataFrame


SPECIAL = "Ball"
"""The type that the general set lacks."""


def split(
    rows: pd.DataFrame, seed: int, *, n_specialised: int, n_test: int, kind: str = SPECIAL
) -> Split:
    """Split by task: whole tasks of a type for the test, then as many as give the specialised rows.

    The test tasks depend on nothing but the rows; the specialised tasks are drawn with the seed
    and their surplus rows are dropped. What is left of all types is ``general``, this included:
    leaving it out is the general model's business.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`generate`.
    seed : int
    n_specialised : int
        Rows.
    n_test : int
        Rows at least; whole tasks.
    kind : str
        The type.

    Raises
    ------
    ValueError
        If there are not enough rows.
    """
    own = rows[rows["type"] == TYPES.index(kind)]
    counts = own.groupby("task").size()
    if n_specialised < 1 or n_test < 1 or n_specialised + n_test > len(own):
        raise ValueError(
            f"n_specialised and n_test must be at least 1 and together at most the {len(own)} "
            f"rows of {kind}, not {n_specialised} and {n_test}"
        )
    last = int(np.searchsorted(counts.cumsum(), n_test))
    tested, free = counts.index[: last + 1], counts.index[last + 1 :]
    order = torch.randperm(len(free), generator=stream(seed, "robot split")).numpy()
    drawn = counts.loc[free[order]].cumsum()
    chosen = drawn.index[: int(np.searchsorted(drawn, n_specialised)) + 1]
    if len(drawn) == 0 or drawn.iloc[-1] < n_specialised:
        raise ValueError(
            f"n_specialised must be at most {int(counts.loc[free].sum())}, the rows of {kind} "
            f"that the test's tasks leave, not {n_specialised}"
        )
    special = own[own["task"].isin(chosen)]
    return Split(
        rows[~rows["task"].isin(tested.union(chosen))],
        special.iloc[:n_specialised],
        own[own["task"].isin(tested)],
    )


def features_of(rows: pd.DataFrame) -> Tensor:
    """The conditions of rows, ``[n, 10]`` float32."""
    return torch.from_numpy(rows[[*FEATURES]].to_numpy(np.float32, copy=True))


def offsets_of(rows: pd.DataFrame) -> Tensor:
    """The targets of rows as the simulator asks for them, ``[n, 2]`` float32."""
    return torch.from_numpy(rows[[*OFFSETS]].to_numpy(np.float32, copy=True))
