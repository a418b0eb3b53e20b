"""What a composition rule aims at, and how far its samples are from that and from the product."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.exact import ExactMixture
from dualdiff.experiments.scenes import Plane, Scene


def formula(rule: Weighted, scene: Scene) -> str:
    r"""The rule as a sum of noise predictions in TeX, from its weights; ``w(t)`` where they change.

    Members are recognised as those of the scene, whatever name the rule gives them.
    """
    terms = []
    for symbol in ("general", "specialised", "unconditional"):
        member, short = getattr(scene, symbol), rf"\varepsilon_{symbol[0]}"
        columns = [rule.table[:, i] for i, m in enumerate(rule.members.values()) if m is member]
        weight = sum(columns, torch.zeros(len(rule.table)))
        if bool((weight != weight[0]).any()):
            terms.append(rf"+ w_{symbol[0]}(t)\,{short}")
        elif weight[0] != 0:
            size = abs(float(weight[0]))
            number = "" if size == 1 else rf"{size:g}\,"
            terms.append(f"{'-' if weight[0] < 0 else '+'} {number}{short}")
    return " ".join(terms).removeprefix("+ ")


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


def promises(
    scene: Plane, clouds: Mapping[str, Tensor], aims: Mapping[str, Tensor | None]
) -> pd.DataFrame:
    """Total variations: aim to product, samples to aim (with its floor), samples to product.

    Parameters
    ----------
    scene : Plane
    clouds : mapping of names to Tensor [n, 2]
        Samples as offsets from the condition.
    aims : mapping of the same names to Tensor [side, side] or None
        As of :func:`aim`.

    Returns
    -------
    DataFrame
        A row per name; NaN where there is no density to aim at.
    """
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
