"""What the knobs of the correctors do: group size, number of steps, and AMDM's settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor

from dualdiff.aggregate import INTERPOLATIONS, amdm
from dualdiff.compose import joint
from dualdiff.correct import Corrected, product
from dualdiff.experiments.composition import SIZES, tidy
from dualdiff.experiments.scenes import Boxes, Scene
from dualdiff.mcmc import HMC
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.store import Store

GROUPS = (2, 5, 10, 25, 50, 100, 200)
COUNTS = (50, 100, 200, 400)
AGGREGATED = (0, 20, 40, 60, 80, 90, 100)
DEVIATIONS = (0.0, 0.1, 0.3, 1.0, 3.0)
MIXING: dict[str, dict[str, Any]] = {
    "plain sum": {"weights": None},
    "SMC": {"resampling": Resampling(50)},
    "HMC": {"weights": None, "mcmc": HMC(1)},
}
"""The methods whose chains get longer, and how :func:`~dualdiff.correct.product` runs them."""


def _smaller(values: tuple[Any, ...], profile: str) -> tuple[Any, ...]:
    """At ``smoke`` the two ends only."""
    return (values[0], values[-1]) if profile == "smoke" else values


def check_group(group: int, profile: str) -> None:
    """Refuse a group size that does not divide the draws of a profile.

    Raises
    ------
    ValueError
        With the group size and the draws.
    """
    draws = SIZES[profile].draws
    if draws % group:
        raise ValueError(f"group must divide the {draws} draws of profile {profile}, not {group}")


def groups_table(
    profile: str, seed: int, group: int, *, store: Store, quiet: bool = True
) -> pd.DataFrame:
    """SMC with groups of several sizes, among them ``group``; column ``group``."""
    check_group(group, profile)
    draws = SIZES[profile].draws
    sizes = sorted({k for k in GROUPS if draws % k == 0} | {group})

    def run(size: int, scene: Scene, c: Tensor, progress: Any) -> Corrected:
        source = stream(seed, "groups", size)
        rule = joint(scene.general, scene.specialised)
        how = {"draws": draws, "resampling": Resampling(size), "progress": progress}
        return product(rule, c, source, **how)

    names = {str(size): partial(run, size) for size in sizes}
    table = tidy(names, ["boxes"], profile, seed, kind="groups", store=store, quiet=quiet)
    return table.assign(group=table["name"].astype(int))


def steps_table(profile: str, seed: int, *, store: Store, quiet: bool = True) -> pd.DataFrame:
    """Plain sum, SMC and HMC with chains of several lengths; columns ``method``, ``steps``."""

    def run(how: dict[str, Any], steps: int, scene: Scene, c: Tensor, progress: Any) -> Corrected:
        assert isinstance(scene, Boxes)  # the same noise in finer or coarser steps:
        finer = scene.with_process(Process.linear(steps, 0.1 / steps, 20 / steps))
        rule = joint(finer.general, finer.specialised)
        source = stream(seed, "steps", steps)
        return product(rule, c, source, draws=SIZES[profile].draws, progress=progress, **how)

    names = {
        f"{method}, {steps}": partial(run, how, steps)
        for method, how in MIXING.items()
        for steps in _smaller(COUNTS[:2] if method == "HMC" else COUNTS, profile)
    }
    table = tidy(names, ["boxes"], profile, seed, kind="steps", store=store, quiet=quiet)
    method, steps = table["name"].str.split(", ", expand=True).to_numpy().T
    return table.assign(method=method, steps=steps.astype(int))


def amdm_table(profile: str, seed: int, *, store: Store, quiet: bool = True) -> pd.DataFrame:
    """AMDM over aggregation steps (three interpolations) and over deviation steps (spherical).

    Deviations are tried with aggregation to the end: a chain that goes on alone forgets them.
    Columns ``interpolation``, ``aggregated``, ``deviation``.
    """

    def run(how: dict[str, Any], scene: Scene, c: Tensor, progress: Any) -> Corrected:
        members = {"specialised": scene.specialised, "general": scene.general}
        source = stream(seed, "amdm", *how.values())
        return amdm(members, c, source, draws=SIZES[profile].draws, progress=progress, **how)

    settings = [
        {"interpolation": kind, "aggregated": s, "deviation": 0.0}
        for kind in INTERPOLATIONS
        for s in _smaller(AGGREGATED, profile)
    ]
    settings += [
        {"interpolation": "spherical", "aggregated": AGGREGATED[-1], "deviation": rho}
        for rho in _smaller(DEVIATIONS, profile)[1:]
    ]
    names: dict[str, Callable[..., Corrected]] = {
        "{interpolation}, {aggregated}, {deviation}".format(**how): partial(run, how)
        for how in settings
    }
    table = tidy(
        names, ["cabinet", "ring_and_bar"], profile, seed, kind="amdm", store=store, quiet=quiet
    )
    kind, aggregated, deviation = table["name"].str.split(", ", expand=True).to_numpy().T
    return table.assign(
        interpolation=kind, aggregated=aggregated.astype(int), deviation=deviation.astype(float)
    )
