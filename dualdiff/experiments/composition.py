"""The study of composition: every rule and every method on scenes whose product is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor

from dualdiff.compose import RULES
from dualdiff.correct import Corrected, Progress, product
from dualdiff.experiments.definitions import digest
from dualdiff.experiments.members import progress_bar
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.scenes import SCENES, Scene
from dualdiff.methods import METHODS
from dualdiff.metrics import Estimate
from dualdiff.profiles import Named
from dualdiff.randomness import stream
from dualdiff.store import Store, versions


@dataclass(frozen=True)
class Size:
    """Conditions and draws per condition of one trial."""

    conditions: int
    draws: int


SIZES = Named(smoke=Size(10, 50), quick=Size(100, 200), full=Size(500, 200))


Run = Callable[[Scene, Tensor, Progress], Corrected]
"""``(scene, conditions, progress)`` to samples."""


def rule_samples(name: str, scene: Scene, c: Tensor, seed: int, **options: Any) -> Corrected:
    """A rule, sampled as the thesis samples: plain ancestral steps from N(0, I)."""
    source = stream(seed, "composition", name)
    return product(scene.rule(name), c, source, weights=None, start_std=1.0, **options)


def method_samples(name: str, scene: Scene, c: Tensor, seed: int, **options: Any) -> Corrected:
    """A method of :data:`dualdiff.methods.METHODS` on the members of a scene."""
    run = METHODS[name].make(scene.general, scene.specialised)
    return run(c, stream(seed, "composition", name), **options)


def clouds(
    scenes: list[str], methods: list[str], profile: str, seed: int
) -> dict[str, dict[str, Tensor]]:
    """Samples of methods with exact members as offsets ``[n, dy]``, by scene and method."""
    found: dict[str, dict[str, Tensor]] = {}
    for where in scenes:
        scene = SCENES[where]()
        c = scene.conditions(SIZES[profile].conditions, seed)
        found[where] = {}
        for name in methods:
            y = method_samples(name, scene, c, seed, draws=50).samples
            found[where][name] = (y - c[:, None]).flatten(0, 1)
    return found


def seen(run: Corrected) -> dict[str, Estimate]:
    """What a run says of itself: cost, share of different samples, effective size, acceptance."""
    plain = {
        "calls": run.calls,
        "unique": float(run.unique.mean()),
        "effective": float(run.effective.mean()),
        "accepted": float(run.accepted.mean()),
    }
    return {name: Estimate(value, math.nan, math.nan) for name, value in plain.items()}


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
    """One row per scene, name and metric: every sampler of ``runs`` on every scene, or loaded.

    Columns ``scene, name, metric, value, low, high`` (95 % intervals over conditions).
    """
    size, tables = SIZES[profile], []
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
    return pd.concat(tables, ignore_index=True)


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
    scores = {**scene.judge(result.samples, c, seed), **seen(result)}
    rows = [(scene.name, name, metric, *estimate) for metric, estimate in scores.items()]
    return pd.DataFrame(rows, columns=["scene", "name", "metric", "value", "low", "high"])


def _on_all_scenes(
    kind: str,
    draw: Callable[..., Corrected],
    names: Iterable[str],
    scenes: list[str] | None,
    profile: str,
    seed: int,
    store: Store,
    quiet: bool,
) -> pd.DataFrame:
    """``draw(name, scene, c, seed, draws=, progress=)`` for every name on the scenes."""

    def run(name: str, scene: Scene, c: Tensor, progress: Progress) -> Corrected:
        return draw(name, scene, c, seed, draws=SIZES[profile].draws, progress=progress)

    runs = {name: partial(run, name) for name in names}
    where = list(SCENES) if scenes is None else scenes
    return tidy(runs, where, profile, seed, kind=kind, store=store, quiet=quiet)


def rules_table(
    profile: str, seed: int, *, store: Store, quiet: bool = True, scenes: list[str] | None = None
) -> pd.DataFrame:
    """Every rule of :data:`dualdiff.compose.RULES` on the scenes, with exact members; see tidy."""
    return _on_all_scenes(
        "rules", rule_samples, RULES, scenes, profile, seed, store=store, quiet=quiet
    )


def methods_table(
    profile: str, seed: int, *, store: Store, quiet: bool = True, scenes: list[str] | None = None
) -> pd.DataFrame:
    """Every method of :data:`dualdiff.methods.METHODS` on the scenes, with exact members."""
    return _on_all_scenes(
        "methods", method_samples, METHODS, scenes, profile, seed, store=store, quiet=quiet
    )
