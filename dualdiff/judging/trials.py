"""The built-in rows: every entry on every problem, as trials of a committed table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import Scores, Trial, known
from dualdiff.judging.entries import BUDGET, DRAWS, ENTRIES, ONLY_TWO, Draw, affordable
from dualdiff.judging.problems import PROBLEMS, VERSION, Problem
from dualdiff.metrics import Estimate
from dualdiff.randomness import stream

SIZES = {"smoke": (4, 1), "quick": (40, 2), "full": (80, 3)}
"""Conditions and seeds at a profile."""


def judged(
    draw: Draw, problem: Problem, conditions: int, seed: int
) -> tuple[dict[str, Estimate], Tensor]:
    """What a way to sample scores on a problem, with ``calls`` and ``steps``; and its samples."""
    steps, calls = affordable(draw, problem)
    c = problem.conditions(conditions, stream(seed, "judge", "conditions"))
    samples = draw(problem.members(steps), c, stream(seed, "judge", "samples"), draws=DRAWS)
    wanted = [conditions, DRAWS, problem.dim]
    if list(samples.shape) != wanted or not bool(samples.isfinite().all()):
        raise ValueError(
            f"samples must be finite and {wanted} on {problem.title!r}, not {list(samples.shape)}"
        )
    found = problem.score(samples, c, seed)
    return found | {"calls": known(calls), "steps": known(steps)}, samples


@dataclass(frozen=True)
class JudgeTrial(Trial):
    """A built-in entry on a problem."""

    problem: str
    configuration: str
    profile: Profile
    seed: int

    store_kind: ClassVar[str] = "judge"
    recipe_name: ClassVar[str] = "exact"

    @property
    def scenario_name(self) -> str:
        return self.problem

    @property
    def cost(self) -> float:
        return float(self.profile.conditions * DRAWS)

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        asked = {"problem": self.problem, "entry": self.configuration, "seed": self.seed}
        size = {"conditions": self.profile.conditions, "draws": DRAWS, "budget": BUDGET}
        return {"problems": VERSION, "recipe": "exact", **asked, **size}

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        draw, problem = ENTRIES[self.configuration], PROBLEMS[self.problem]
        found, _ = judged(draw, problem, self.profile.conditions, self.seed)
        return {("product", metric): estimate for metric, estimate in found.items()}


def judge_trials(profile: Profile) -> list[JudgeTrial]:
    """All entries on all problems that they can take, at a profile's conditions and seeds."""
    conditions, seeds = SIZES[profile.name]
    size = replace(profile, conditions=conditions, draws=DRAWS, seeds=seeds)
    return [
        JudgeTrial(problem, name, size, seed)
        for problem, one in PROBLEMS.items()
        for name in ENTRIES
        if len(one.laws) == 2 or name not in ONLY_TWO
        for seed in range(seeds)
    ]
