"""What the chapter on composition rules says in words and tables, from its own numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from dualdiff.compose import RULES, Weighted
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactMixture
from dualdiff.plots.composition import title
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.report import interval
from dualdiff.scenes import Boxes, Plane, Scene

SCENES = {"cabinet": "cabinet", "boxes": "half-shared boxes", "ring_and_bar": "ring and bar"}
BOXES = ("cabinet", "boxes")
COLUMNS = {
    "accuracy": "accuracy",
    "total_variation": "total variation",
    "energy_distance": "energy distance",
    "calls": "calls",
}


def formula(rule: Weighted, scene: Scene) -> str:
    r"""The rule as a sum of noise predictions in TeX, from its weights; ``w(t)`` where they change.

    Members are recognised as those of the scene, whatever name the rule gives them.
    """
    symbols: list[tuple[Denoiser, str]] = [
        (scene.general, "g"),
        (scene.specialised, "s"),
        (scene.unconditional, "u"),
    ]
    terms = []
    for member, symbol in symbols:
        columns = [rule.table[:, i] for i, m in enumerate(rule.members.values()) if m is member]
        if not columns:
            continue
        weight = torch.stack(columns).sum(0)
        if bool((weight != weight[0]).any()):
            terms.append(rf"+ w_{symbol}(t)\,\varepsilon_{symbol}")
        elif weight[0] != 0:
            size = abs(float(weight[0]))
            number = "" if size == 1 else rf"{size:g}\,"
            terms.append(rf"{'-' if weight[0] < 0 else '+'} {number}\varepsilon_{symbol}")
    return " ".join(terms).removeprefix("+ ")


def rules_markdown(scene: Scene) -> str:
    """Every rule with its formula, the sum of its weights, its aim and its cost, as Markdown."""
    lines = [
        "| rule | noise prediction | weights add up to | aims at | network calls per step |",
        "|---|---|---|---|---|",
    ]
    for name, rule in RULES.items():
        made = scene.rule(name)
        total, calls = float(made.table[-1].sum()), len(made.active())
        lines.append(
            f"| {rule.title} | ${formula(made, scene)}$ | {total:g} | ${rule.target}$ | {calls} |"
        )
    return "\n".join(lines)


def gaussian_table(process: Process) -> pd.DataFrame:
    r"""What every rule samples when all members are N(0, 1), by B, the sum of its weights.

    The product is :math:`N(0, 1/B)`. The chain's variance follows
    :math:`v \leftarrow v (1 - B\beta_t)^2 / (1 - \beta_t) + \beta_t` from 1, without noise at the
    last step.
    """
    unit = ExactMixture(process, [1.0], np.zeros((1, process.dy)), np.eye(process.dy)[None])
    steps, rows = list(enumerate(process.beta.tolist())), {}
    for name, rule in RULES.items():
        total = float(rule.make(unit, unit, unit).table[-1].sum())
        v = 1.0
        for t, beta in reversed(steps):
            v = v * (1 - total * beta) ** 2 / (1 - beta) + (beta if t > 0 else 0.0)
        rows[name] = {"B": total, "variance of the product": 1 / total, "of the samples": v}
    table = pd.DataFrame.from_dict(rows, orient="index").rename(index=title).rename_axis("rule")
    return table.sort_values("B", kind="stable")


def scores_table(table: pd.DataFrame, scene: str) -> pd.DataFrame:
    """Accuracy, total variation, energy distance and cost of every rule in one scene."""
    rows = table[table["scene"] == scene]
    text = rows.assign(
        text=[
            f"{value:g}" if metric == "calls" else interval(value, low, high)
            for metric, value, low, high in rows[["metric", "value", "low", "high"]].itertuples(
                index=False
            )
        ]
    )
    wide = text.pivot(index="name", columns="metric", values="text")
    wide = wide.loc[list(dict.fromkeys(rows["name"])), list(COLUMNS)]
    named = wide.rename(index=title, columns=COLUMNS).rename_axis(None, axis="columns")
    return named.rename_axis("rule")


def head(table: pd.DataFrame, scene: str) -> str:
    """What stands above the table of a scene: its name and the floor of total variation there."""
    least = min(values(table, "total_variation_floor")[scene].values())
    return f"**{SCENES.get(scene, scene).capitalize()}** (floor of TV {least:.3f})"


def has_density(rule: Weighted) -> bool:
    r"""Whether :math:`\prod_i p_i^{w_i}` has a finite mass, for Gaussian mixtures in the plane.

    Far out in a direction u a mixture falls like :math:`e^{-r^2 q(u)/2}`, q the least precision of
    its components there, so the product has a mass if :math:`\sum_i w_i q_i(u)` is positive for all
    u (with weights of the last step).
    """
    angle = torch.linspace(0, math.pi, 361, dtype=torch.float64)
    way = torch.stack([angle.cos(), angle.sin()], 1)
    total = torch.zeros(len(way), dtype=torch.float64)
    for weight, member in zip(rule.table[0], rule.members.values(), strict=True):
        assert isinstance(member, ExactMixture)
        along = torch.einsum("nd,kde->nke", way, member.basis) ** 2
        total += weight * (along / member.variances).sum(2).amin(1)
    return bool((total > 0).all())


def aim(scene: Plane, rule: Weighted) -> Tensor | None:
    """The density a rule aims at on the scene's grid; None where there is no such density."""
    return scene.density(rule) if has_density(rule) else None


def floor(masses: Tensor, n: int) -> float:
    """Expected total variation of n independent draws from cells of these masses, exactly.

    By De Moivre's closed form of the mean absolute deviation of a binomial, cell by cell.
    """
    p = masses.flatten().double().numpy().clip(0, 1)
    m = np.floor(n * p) + 1
    return float((m * (1 - p) * stats.binom.pmf(m, n, p)).sum() / n)


def aim_table(
    scene: Plane, clouds: Mapping[str, Tensor], aims: Mapping[str, Tensor | None]
) -> pd.DataFrame:
    """Total variations: aim to product, samples to aim (with its floor), samples to product."""
    product, rows = scene.masses(scene.target), {}
    for name, cloud in clouds.items():
        wanted = aims[name]
        row = dict.fromkeys(("aim to product", "samples to aim", "floor"), math.nan)
        if wanted is not None:
            masses = scene.masses(wanted)
            row["aim to product"] = 0.5 * float((masses - product).abs().sum())
            row["samples to aim"] = scene.variation(cloud, wanted)
            row["floor"] = floor(masses, len(cloud))
        rows[name] = {**row, "samples to product": scene.variation(cloud, scene.target)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table by rule as a reader sees it: titles, three decimals, a dash where there is none."""
    text = frame.map(lambda v: "–" if math.isnan(v) else f"{v:.3f}")
    return text.rename(index=title)


def places_table(scene: Boxes, clouds: Mapping[str, Tensor]) -> pd.DataFrame:
    """Where samples ``[n, 3]`` of every rule are: shares by place."""
    rows = {}
    for name, u in clouds.items():
        origin = u.new_zeros(1, u.shape[1])
        home = scene.world.general.contains(u, origin)
        own = scene.world.specialised.contains(u, origin)
        rows[name] = {
            "in both": float((own & home).float().mean()),
            "general only": float((home & ~own).float().mean()),
            "specialised only": float((own & ~home).float().mean()),
            "in neither": float((~own & ~home).float().mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def values(table: pd.DataFrame, metric: str) -> dict[str, dict[str, float]]:
    """One metric by scene and rule, in the order of the table."""
    rows = table[table["metric"] == metric]
    return {
        str(scene): {str(n): float(v) for n, v in zip(part["name"], part["value"], strict=True)}
        for scene, part in rows.groupby("scene", sort=False)
    }


def family_sentence(table: pd.DataFrame, *names: str) -> str:
    """Accuracy and total variation of some rules in every scene, a line each."""
    hits, tv = values(table, "accuracy"), values(table, "total_variation")
    lines = []
    for name in names:
        parts = (f"{SCENES.get(s, s)} {hits[s][name]:.3f} / {tv[s][name]:.3f}" for s in tv)
        lines.append(f"- {title(name)} (accuracy / TV): {'; '.join(parts)}.")
    return "\n".join(lines)


def volume(region: Box) -> float:
    """The volume of a box."""
    return float(np.prod(np.subtract(region.high, region.low)))


def ramp_sentence(table: pd.DataFrame, scene: Boxes) -> str:
    """How the per-step weights rank on the nested and on the half-shared boxes, in words."""
    tv = values(table, "total_variation")
    nested, half = (1 + sum(v < tv[s]["ramp"] for v in tv[s].values()) for s in BOXES)
    hits = values(table, "accuracy")["boxes"]["ramp"]
    target, own = scene.target, scene.world.specialised
    assert isinstance(target, Box) and isinstance(own, Box)
    return (
        f"By TV the per-step weights are number **{nested}** of {len(tv['boxes'])} rules on the "
        f"nested cabinet and number **{half}** on the half-shared boxes. There {hits:.0%} of their "
        f"samples lie in both boxes; the specialised model alone would have "
        f"{volume(target) / volume(own):.0%}."
    )


def best_sentence(table: pd.DataFrame) -> str:
    """Which rule has the lowest total variation in each scene, and whether one wins everywhere."""
    tv, floors = values(table, "total_variation"), values(table, "total_variation_floor")
    lines, winners = [], []
    for scene, by in tv.items():
        *_, worst = ordered = sorted(by, key=by.__getitem__)
        best = ordered[0]
        winners.append(best)
        lines.append(
            f"- {SCENES.get(scene, scene).capitalize()}: lowest TV for {title(best)} "
            f"({by[best]:.3f}, floor {floors[scene][best]:.3f}), highest for {title(worst)} "
            f"({by[worst]:.3f})."
        )
    same = len(set(winners)) == 1
    which = f"The same rule, {title(winners[0])}," if same else "No rule"
    return "\n".join([*lines, f"- {which} has the lowest TV in every scene."])


def aim_sentence(frame: pd.DataFrame) -> str:
    """Which rules keep to their own aim and which do not, in words; ``frame`` of aim_table."""
    rules = {str(n): r for n, r in frame.to_dict("index").items() if n != "truth"}
    off = {n: r["samples to aim"] - r["floor"] for n, r in rules.items()}
    none = [title(n) for n, gap in off.items() if math.isnan(gap)]
    ordered = sorted((n for n, gap in off.items() if not math.isnan(gap)), key=off.__getitem__)
    kept, lost = ordered[0], ordered[-1]
    text = (
        f"Nearest to its own aim is {title(kept)} (TV {rules[kept]['samples to aim']:.3f}, floor "
        f"{rules[kept]['floor']:.3f}), farthest {title(lost)} "
        f"({rules[lost]['samples to aim']:.3f}). "
    )
    other = [n for n in ordered if rules[n]["samples to product"] < rules[n]["samples to aim"]]
    if other:
        names = ", ".join(title(n) for n in other)
        text += f"Nearer to the product than to what it aims at: {names}. "
    return text + (f"Without a density to aim at: {', '.join(none)}." if none else "")


def guidance_table(clouds: Mapping[float, Tensor], c: Tensor, region: Box) -> pd.DataFrame:
    """Standard deviation of samples around their condition, and accuracy, by guidance weight.

    ``clouds`` are ``[n_conditions, k, d]``; the last row is the uniform law on the region.
    """
    rows = {}
    for weight, y in clouds.items():
        inside = region.contains(y, c[:, None]).float().mean()
        rows[f"w = {weight:g}"] = (float(y.var(1).mean().sqrt()), float(inside))
    sides = np.subtract(region.high, region.low)
    rows["truth"] = (float(np.sqrt(np.mean(sides**2 / 12))), 1.0)
    columns = ["standard deviation (units of y)", "accuracy"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("guidance")


def own_sentence(frame: pd.DataFrame, rule: Weighted) -> str:
    """A weighted sum of the reader's own in numbers.

    ``frame`` is an :func:`aim_table` of ``own``, started at N(0, I), and of ``narrow``, started at
    N(0, I / sum w).
    """
    weights = rule.weights
    own, narrow = (dict(frame.loc[name].astype(float)) for name in ("own", "narrow"))
    return (
        f"Weights {weights['general']:g} (general) and {weights['specialised']:g} (specialised): "
        f"TV to the product **{own['samples to product']:.3f}**, to its own aim "
        f"**{own['samples to aim']:.3f}** (floor {own['floor']:.3f}); the aim itself is "
        f"{own['aim to product']:.3f} from the product. Started with standard deviation "
        f"{rule.start_std:.3f} instead of 1: {narrow['samples to product']:.3f} and "
        f"{narrow['samples to aim']:.3f}."
    )
