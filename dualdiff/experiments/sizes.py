"""How large every study of the synthetic scenarios is at a profile: one table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.profiles import PROFILES, Named, Profile
from dualdiff.experiments.shifted import distance_for

ALONE = ("specialised", "finetuned", "lora", "replay")
JOINT = ("joint", "finetuned_joint", "lora_joint")
SWEEP = (0.0, 0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3, 3.25, 3.5, 3.75, 4.25, 5, 7, 14)
"""Distances of the sweep: inside the general disc, across its rim, and away from it."""
FULL, NONE = 0.0, 7.0  # distances of the centres at which the discs overlap fully and not at all


@dataclass(frozen=True)
class Size:
    """How much of a study a profile runs; fields that a study does not ask for are empty.

    Parameters
    ----------
    conditions, draws : int
        Test conditions, and samples drawn for each of them.
    seeds : int
        Training runs.
    distances : tuple of float
        Of the centres of the two discs.
    sizes, overlap_sizes : tuple of int
        Numbers of specialised pairs in the cabinet and on the shifted round table.
    epochs : tuple of int
        Fine-tuning epochs (of 128 rows).
    epoch_networks : tuple of str
        Of :data:`RECIPES`: those that are followed over the epochs.
    methods : tuple of str
        Configurations of the study of set sizes.
    budget : int
        Curves of weights that :func:`dualdiff.weights.learn` may try.
    score_draws : int
        Draws per held-out pair, to judge a curve.
    oracle : int
        Samples with which the oracle judges a curve.
    """

    conditions: int
    draws: int
    seeds: int = 1
    distances: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    overlap_sizes: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    epoch_networks: tuple[str, ...] = ("tuned",)
    methods: tuple[str, ...] = (*ALONE, *JOINT)
    budget: int = 0
    score_draws: int = 0
    oracle: int = 0


SIZES = {
    "composition": Named(smoke=Size(10, 50), quick=Size(100, 200), full=Size(500, 200)),
    "overlap": Named(
        smoke=Size(40, 10, 1, (0.0, 3, 7)),
        quick=Size(300, 10, 1, (0.0, 2.5, 3.5, 7)),
        full=Size(500, 10, 3, SWEEP),
    ),
    "adaptation": Named(
        smoke=Size(40, 5, 1, (FULL, NONE), (8, 128), (8,), (5, 10)),
        quick=Size(200, 10, 1, (FULL, NONE), (8, 128), (128,), (20, 200, 500)),
        full=Size(
            *(500, 10, 3, (FULL, distance_for(0.5), NONE)),
            sizes=(8, 16, 32, 64, 128, 256, 512, 1024, 2048),
            overlap_sizes=(8, 32, 128, 512),
            epochs=(10, 20, 50, 100, 200, 500, 1000, 2000),
            epoch_networks=tuple(RECIPES),
            methods=(*ALONE, "generated", *JOINT),
        ),
    ),
    "weighting": Named(
        smoke=Size(10, 50, budget=7, score_draws=4, oracle=200),
        quick=Size(100, 50, budget=25, score_draws=16, oracle=4_000),
        full=Size(400, 50, 3, budget=40, score_draws=32, oracle=4_000),
    ),
}
"""By study and profile."""


def size_of(study: str, profile: str) -> Size:
    """How large a study is at a profile.

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    known = SIZES[study]
    if profile not in known:
        raise ValueError(f"profile must be one of {', '.join(known)}, not {profile!r}")
    return known[profile]


def sized(study: str, profile: str, **changes: Any) -> Profile:
    """The profile with the conditions, draws and seeds of a study, and other changes of it."""
    own = size_of(study, profile)
    size = replace(PROFILES[profile], conditions=own.conditions, draws=own.draws, seeds=own.seeds)
    return replace(size, **changes)
