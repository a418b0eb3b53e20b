"""The full data set as a table of the book: rows per type, time and memory."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import SAMPLES_PER_SECOND, Scores, Trial, known
from dualdiff.robot.dataset import CHUNK, generate
from dualdiff.robot.kinds import ENVIRONMENTS, TYPES
from dualdiff.robot.members import DATA_SEED
from dualdiff.robot.settings import Scale


def peak_memory() -> float:
    """Most memory that this process ever held, in gigabytes; nan where that is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1e9 if sys.platform == "darwin" else 1e6)  # bytes there, kilobytes elsewhere


@dataclass(frozen=True)
class DataTrial(Trial):
    """The rows of one environment, generated and counted.

    The counts are the result; ``seconds`` and ``memory`` are what it took where it was made.
    """

    profile: Scale
    configuration: str
    seed: int = DATA_SEED

    store_kind: ClassVar = "robot_data"
    scenario_name: ClassVar = "robot"
    recipe_name: ClassVar = "simulator"

    @property
    def cost(self) -> float:
        """Relative work, in samples of the synthetic study."""
        return SAMPLES_PER_SECOND * self.profile.tasks / 2_000

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {
            "recipe": "simulator",
            "tasks": self.profile.tasks,
            "chunk": CHUNK,
            "seed": self.seed,
            "configuration": self.configuration,
        }

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """Counts by type, without intervals."""
        began, environment = time.perf_counter(), ENVIRONMENTS[self.configuration]
        names = [self.configuration]
        rows = generate(self.profile.tasks, self.seed, store=store, environments=names)
        seconds = time.perf_counter() - began
        found: dict[tuple[str, str], float] = {}
        for kind in (environment.pickable, environment.container):
            own = rows[rows["type"] == TYPES.index(kind.name)]
            found |= {
                (kind.name, "rows"): len(own),
                (kind.name, "tasks"): own["task"].nunique(),
                (kind.name, "draws per row"): float(own["draws"].mean()),
            }
        moves = rows.groupby("task").size()
        finished = moves == 2 * rows.groupby("task")["goals"].first()
        found |= {
            ("tasks", "begun"): self.profile.tasks,
            ("tasks", "finished"): int(finished.sum()),
            ("run", "seconds"): seconds,
            ("run", "memory"): peak_memory(),
        }
        return {place: known(value) for place, value in found.items()}


def data_trials(scale: Scale) -> list[DataTrial]:
    """One trial per environment."""
    return [DataTrial(scale, name) for name in ENVIRONMENTS]
