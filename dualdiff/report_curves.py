"""What the chapter on learned weights says of curves: weights that depend on the noise level."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from dualdiff.process import Process
from dualdiff.report_weights import WORLDS, against, present, scores, span, weights
from dualdiff.weighting import NAMES

LEAD = 0.05
"""A member leads where its weight is larger by more than this, in every seed."""


def log_snr(process: Process, steps: Iterable[int]) -> np.ndarray:
    """Logarithm of the signal-to-noise ratio at timesteps, the axis of the curves."""
    at: np.ndarray = torch.logit(process.alpha_bar).numpy()[list(steps)]
    return at


def range_of(values: pd.Series) -> str:
    """Mean of weights, and their range if they differ: ``0.12 (0.05 .. 0.20)``."""
    mean, ends = f"{values.mean():.2f}", span(values)
    return f"{mean} ({ends})" if ".." in ends else mean


def _ends(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Weights at the noisiest, a middle and the cleanest timestep, one row per seed."""
    steps = sorted(found["t"].unique(), reverse=True)
    places = {"noisy": steps[0], "middle": steps[len(steps) // 2], "clean": steps[-1]}
    return {name: found[found["t"] == t] for name, t in places.items()}


def curve_sentence(table: pd.DataFrame, way: str) -> str:
    """The weights of a way at the noisy end, in the middle and at the clean end, over seeds."""
    lines = []
    for scenario in present(table):
        found = weights(table, scenario, way)
        if found.empty:
            continue
        places = "; ".join(
            f"{name} $w_g$ {range_of(rows['general'])}, $w_s$ {range_of(rows['specialised'])}, "
            f"sum {rows[list(NAMES)].sum(axis=1).mean():.2f}"
            for name, rows in _ends(found).items()
        )
        lines.append(f"- {WORLDS[scenario].capitalize()}, *{way}*: {places}.")
    return "\n".join(lines)


def runs(process: Process, found: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """Where a member's weight leads by more than :data:`LEAD` in every seed.

    ``found`` as in :func:`dualdiff.report_weights.weights`. By member the runs of neighbouring
    timesteps of the table, as log SNR from and to, the noisiest first.
    """
    apart = found.assign(by=found["general"] - found["specialised"]).groupby("t")["by"]
    leads = {"general": apart.min() > LEAD, "specialised": apart.max() < -LEAD}
    said: dict[str, list[tuple[float, float]]] = {}
    for member, ahead in leads.items():
        ahead = ahead.sort_index(ascending=False)
        number = (ahead != ahead.shift()).cumsum()[ahead]
        steps = [list(own.index) for _, own in number.groupby(number)]
        said[member] = [
            (float(at[0]), float(at[-1])) for at in (log_snr(process, own) for own in steps)
        ]
    return said


def lead_sentence(table: pd.DataFrame, way: str, process: Process) -> str:
    """Over which noise levels each member has the larger weight, as far as all seeds agree."""
    lines = []
    for scenario in present(table):
        found = weights(table, scenario, way)
        if found.empty:
            continue
        members = []
        for member, some in runs(process, found).items():
            where = ", ".join(
                f"{low:.0f} to {high:.0f}" if low < high else f"{low:.0f}" for low, high in some
            )
            members.append(f"the {member} model at {where or 'none'}")
        lines.append(f"on the {WORLDS[scenario]} {', '.join(members)}")
    return (
        f"By *{way}*, leading at the log SNR shown in every seed and by more than {LEAD}: "
        f"{'; '.join(lines)}. Elsewhere the members share, or the seeds disagree."
    )


def shape_sentence(table: pd.DataFrame) -> str:
    """Whether a curve beats constants, for the learned choice and for the oracle."""
    lines = []
    for scenario in present(table):
        variation = scores(table, scenario)["total_variation"]
        for choice in ("learned", "oracle"):
            names = [f"{choice} constant", f"{choice} curve"]
            if set(names) <= set(variation.index):
                constant, curve = variation[names]
                lines.append(
                    f"{WORLDS[scenario]}, {choice}: curve {curve:.3f}, {against(curve, constant)} "
                    f"constants' {constant:.3f}"
                )
    return "TV with a curve in place of constants: " + "; ".join(lines) + "."
