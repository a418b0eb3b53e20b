"""The study of composition: every rule and every method on scenes whose product is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor

from dualdiff.compose import joint
from dualdiff.correct import Corrected, Progress, product
from dualdiff.experiments.aggregate import INTERPOLATIONS, amdm
from dualdiff.experiments.definitions import digest
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.rules import RULES
from dualdiff.experiments.scenes import SCENES, Boxes, Scene
from dualdiff.experiments.sizes import Size, size_of
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trained import progress_bar
from dualdiff.experiments.trial import derive, known
from dualdiff.mcmc import HMC
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling

SEEN = ("unique", "effective", "accepted")
COLUMNS = ("metric", "value", "low", "high")
GROUPS = (2, 5, 10, 25, 50, 100, 200)
COUNTS = (50, 100, 200, 400)
AGGREGATED = (0, 20, 40, 60, 80, 90, 100)
DEVIATIONS = (0.0, 0.1, 0.3, 1.0, 3.0)
MIXING: dict[str, dict[str, Any]] = {
    "sum": {"weights": None},
    "smc": {"resampling": Resampling(50)},
    "hmc": {"weights": None, "mcmc": HMC(1)},
}
"""The methods whose chains get longer, and how :func:`~dualdiff.correct.product` runs them."""

Run = Callable[[Scene, Tensor, Progress], Corrected]
"""``(scene, conditions, progress)`` to samples."""


def rule_samples(name: str, scene: Scene, c: Tensor, seed: int, **options: Any) -> Corrected:
    """A rule, sampled as the thesis samples: plain ancestral steps from N(0, I)."""
    source = stream(seed, "composition", name)
    return product(scene.rule(name), c, source, weights=None, start_std=1.0, **options)


def method_samples(name: str, scene: Scene, c: Tensor, seed: int, **options: Any) -> Corrected:
    """A method of :data:`dualdiff.experiments.methods.METHODS` on the members of a scene."""
    run = METHODS[name].make({"general": scene.general, "specialised": scene.specialised})
    return run(c, stream(seed, "composition", name), **options)


def clouds(
    scenes: list[str], methods: list[str], profile: str, seed: int
) -> dict[str, dict[str, Tensor]]:
    """Samples of methods with exact members as offsets ``[n, dy]``, by scene and method."""
    found: dict[str, dict[str, Tensor]] = {}
    for where in scenes:
        scene = SCENES[where]()
        c = scene.conditions(size_of("composition", profile).conditions, seed)
        found[where] = {}
        for name in methods:
            y = method_samples(name, scene, c, seed, draws=50).samples
            found[where][name] = (y - c[:, None]).flatten(0, 1)
    return found


def seen(run: Corrected) -> dict[str, float]:
    """What a run says of itself: cost, share of different samples, effective size, acceptance."""
    shares = {name: float(getattr(run, name).mean()) for name in SEEN}
    return {"calls": run.calls, **shares}


def tidy(
    runs: Mapping[str, Run],
    scenes: list[str],
    profile: str,
    seed: int,
    *,
    kind: str,
    store: Store,
    quiet: bool = True,
) -> pd.DataFrame:
    """One row per scene, configuration and metric: every sampler of ``runs`` on every scene.

    Columns ``scene, seed, configuration, metric, value, low, high`` (95 % intervals over
    conditions), and those of :func:`dualdiff.experiments.trial.derive`. What is stored is loaded.
    """
    size, tables = size_of("composition", profile), []
    total = len(runs) * len(scenes) * size.conditions * size.draws
    with progress_bar(total, kind, quiet) as bar:
        for where in scenes:
            scene = SCENES[where]()
            for name, run in runs.items():
                config = {
                    "scene": where,
                    "name": name,
                    "kind": kind,
                    "conditions": size.conditions,
                    "draws": size.draws,
                    "seed": seed,
                    "definitions": digest([run, SCENES[where], RULES.get(name), METHODS.get(name)]),
                    "code": version_of(_scored),
                    **versions(),
                }
                make = partial(_scored, scene, name, run, size, seed, bar.update)
                before = bar.n
                tables.append(store.table("composition", config, make))
                bar.update(before + size.conditions * size.draws - bar.n)
    return derive(pd.concat(tables, ignore_index=True))


def _scored(
    scene: Scene,
    name: str,
    run: Run,
    size: Size,
    seed: int,
    progress: Progress,
) -> pd.DataFrame:
    c = scene.conditions(size.conditions, seed)
    result = run(scene, c, progress)
    notes = {name: known(value) for name, value in seen(result).items()}
    scores = {**scene.judge(result.samples, c, seed), **notes}
    rows = [(scene.name, seed, name, metric, *estimate) for metric, estimate in scores.items()]
    return pd.DataFrame(rows, columns=["scene", "seed", "configuration", *COLUMNS])


def _on_all_scenes(
    kind: str,
    draw: Callable[..., Corrected],
    names: Iterable[str],
    profile: str,
    seed: int,
    scenes: list[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """``draw(name, scene, c, seed, draws=, progress=)`` for every name on the scenes."""
    draws = size_of("composition", profile).draws

    def run(name: str, scene: Scene, c: Tensor, progress: Progress) -> Corrected:
        return draw(name, scene, c, seed, draws=draws, progress=progress)

    runs = {name: partial(run, name) for name in names}
    return tidy(runs, scenes or [*SCENES], profile, seed, kind=kind, **options)


def rules_table(profile: str, seed: int, **options: Any) -> pd.DataFrame:
    """Every rule of :data:`dualdiff.experiments.rules.RULES` on the scenes, with exact members.

    ``options`` are ``scenes``, by default all, and ``store`` and ``quiet`` of :func:`tidy`.
    """
    return _on_all_scenes("rules", rule_samples, RULES, profile, seed, **options)


def methods_table(profile: str, seed: int, **options: Any) -> pd.DataFrame:
    """Every method of :data:`dualdiff.experiments.methods.METHODS`, like :func:`rules_table`."""
    return _on_all_scenes("methods", method_samples, METHODS, profile, seed, **options)


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
    draws = size_of("composition", profile).draws
    if draws % group:
        raise ValueError(f"group must divide the {draws} draws of profile {profile}, not {group}")


def groups_table(
    profile: str, seed: int, group: int, *, store: Store, quiet: bool = True
) -> pd.DataFrame:
    """SMC with groups of several sizes, among them ``group``; column ``group``."""
    check_group(group, profile)
    draws = size_of("composition", profile).draws
    sizes = sorted({k for k in GROUPS if draws % k == 0} | {group})

    def run(size: int, scene: Scene, c: Tensor, progress: Any) -> Corrected:
        source = stream(seed, "groups", size)
        rule = joint(scene.general, scene.specialised)
        how = {"draws": draws, "resampling": Resampling(size), "progress": progress}
        return product(rule, c, source, **how)

    names = {f"smc in groups of {size}": partial(run, size) for size in sizes}
    return tidy(names, ["boxes"], profile, seed, kind="groups", store=store, quiet=quiet)


def steps_table(profile: str, seed: int, *, store: Store, quiet: bool = True) -> pd.DataFrame:
    """Plain sum, SMC and HMC with chains of several lengths; column ``steps``."""
    draws = size_of("composition", profile).draws

    def run(how: dict[str, Any], steps: int, scene: Scene, c: Tensor, progress: Any) -> Corrected:
        assert isinstance(scene, Boxes)  # the same noise in finer or coarser steps:
        finer = scene.with_process(Process.linear(steps, 0.1 / steps, 20 / steps))
        rule = joint(finer.general, finer.specialised)
        source = stream(seed, "steps", steps)
        return product(rule, c, source, draws=draws, progress=progress, **how)

    names = {
        f"{method} in {steps} steps": partial(run, how, steps)
        for method, how in MIXING.items()
        for steps in _smaller(COUNTS[:2] if method == "hmc" else COUNTS, profile)
    }
    return tidy(names, ["boxes"], profile, seed, kind="steps", store=store, quiet=quiet)


def amdm_table(profile: str, seed: int, *, store: Store, quiet: bool = True) -> pd.DataFrame:
    """AMDM over aggregation steps (three interpolations) and over deviation steps (spherical).

    Deviations are tried with aggregation to the end: a chain that goes on alone forgets them.
    Columns ``configuration`` (the interpolation), ``aggregated``, ``deviation``.
    """
    draws, scenes = size_of("composition", profile).draws, ["cabinet", "ring_and_bar"]

    def run(how: dict[str, Any], scene: Scene, c: Tensor, progress: Any) -> Corrected:
        members = {"specialised": scene.specialised, "general": scene.general}
        source = stream(seed, "amdm", *how.values())
        return amdm(members, c, source, draws=draws, progress=progress, **how)

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
    return tidy(names, scenes, profile, seed, kind="amdm", store=store, quiet=quiet)
