"""The full data set as a table of the book: rows per type, time and memory."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pandas as pd

from dualdiff.provenance import version_of
from dualdiff.robot.dataset import CHUNK, generate
from dualdiff.robot.kinds import ENVIRONMENTS, TYPES
from dualdiff.robot.members import DATA_SEED
from dualdiff.robot.settings import Scale
from dualdiff.store import Store, versions
from dualdiff.study import COLUMNS


def peak_memory() -> float:
    """Most memory that this process ever held, in gigabytes; nan where that is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1e9 if sys.platform == "darwin" else 1e6)  # bytes there, kilobytes elsewhere


@dataclass(frozen=True)
class DataTrial:
    """The rows of one environment, generated and counted.

    The counts are the result; ``seconds`` and ``memory`` are what it took where it was made.
    """

    profile: Scale
    configuration: str

    scenario_name: ClassVar = "robot"
    recipe_name: ClassVar = "simulator"
    seed: ClassVar = DATA_SEED

    @property
    def roots(self) -> tuple[type, ...]:
        """The definitions of which the result is made, with all that they reach."""
        return (type(self),)

    @property
    def cost(self) -> float:
        """Relative work: seconds, roughly."""
        return self.profile.tasks / 2_000

    def config(self) -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {
            "recipe": "simulator",
            "tasks": self.profile.tasks,
            "chunk": CHUNK,
            "seed": self.seed,
            "configuration": self.configuration,
        }

    def table(self, store: Store) -> pd.DataFrame:
        """Counts by type, made or loaded; columns as in :func:`dualdiff.study.study`."""
        config = {**self.config(), "code": version_of(*self.roots), **versions()}
        table = store.table("robot_data", config, partial(self._make, store))
        return table.assign(profile=self.profile.name)

    def _make(self, store: Store) -> pd.DataFrame:
        began, environment = time.perf_counter(), ENVIRONMENTS[self.configuration]
        names = [self.configuration]
        rows = generate(self.profile.tasks, self.seed, store=store, environments=names)
        seconds = time.perf_counter() - began
        found: list[tuple[str, str, float]] = []
        for kind in (environment.pickable, environment.container):
            own = rows[rows["type"] == TYPES.index(kind.name)]
            found += [
                (kind.name, "rows", len(own)),
                (kind.name, "tasks", own["task"].nunique()),
                (kind.name, "draws per row", float(own["draws"].mean())),
            ]
        moves = rows.groupby("task").size()
        finished = moves == 2 * rows.groupby("task")["goals"].first()
        found += [
            ("tasks", "begun", self.profile.tasks),
            ("tasks", "finished", int(finished.sum())),
            ("run", "seconds", seconds),
            ("run", "memory", peak_memory()),
        ]
        keys = ("robot", self.recipe_name, self.profile.name, self.seed, self.configuration)
        table = pd.DataFrame(
            [(*keys, target, metric, value) for target, metric, value in found],
            columns=[*COLUMNS, "value"],
        )
        return table.assign(low=math.nan, high=math.nan, seconds=seconds)


def data_trials(scale: Scale) -> list[DataTrial]:
    """One trial per environment."""
    return [DataTrial(scale, name) for name in ENVIRONMENTS]
