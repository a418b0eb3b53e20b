"""What the playground says of samplers: a sum of two models with and without fresh noise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from dualdiff import metrics
from dualdiff.compose import Weighted, joint
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactMixture
from dualdiff.members import Workshop, stream
from dualdiff.plots import LABELS
from dualdiff.process import Process
from dualdiff.profiles import Profile
from dualdiff.report import interval
from dualdiff.samplers import DDPM, CollapseWarning, DPMSolverPP, Sampler, sample

SAMPLERS: dict[str, Sampler] = {"ancestral": DDPM(), "dpm++": DPMSolverPP(30)}
TITLES = {"ancestral": "ancestral, all steps", "dpm++": "DPM-Solver++, 30 steps"}


def predicted_variance(process: Process, weight: float, sampler: str) -> float:
    r"""Variance of samples of :math:`w` times the noise prediction of :math:`N(0, 1)`.

    Exactly, for continuous time: :math:`\bar\alpha_T^{w - 1}` for the probability flow from a
    start of variance one, and for the reverse diffusion, a linear equation with integrated
    :math:`\beta` of :math:`B = -\log \bar\alpha_T`,

    .. math:: \frac{1}{2w - 1} + \Bigl(1 - \frac{1}{2w - 1}\Bigr) e^{-(2w - 1) B}

    Parameters
    ----------
    process : Process
    weight : float
        w > 1/2.
    sampler : {"ancestral", "dpm++"}
    """
    left = process.alpha_bar_at(process.steps - 1)
    if sampler == "dpm++":
        return float(left ** (weight - 1))
    settled = 1 / (2 * weight - 1)
    return float(settled + (1 - settled) * left ** (2 * weight - 1))


def _drawn(rule: Denoiser, c: Tensor, source: torch.Generator, how: Sampler, draws: int) -> Tensor:
    """Samples without the warning of the collapse, which is what these tables show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)
        return sample(rule, c, source, sampler=how, draws=draws)


def spreads(process: Process, weights: Sequence[float], n: int, seed: int) -> pd.DataFrame:
    """Predicted and sampled variance of two standard normal models, by total weight and sampler.

    Columns ``weight, sampler, predicted, sampled``; all steps of the process for both samplers.
    """
    normal = ExactMixture(process, [1.0], torch.zeros(1, 2), torch.eye(2)[None])
    c, rows = torch.zeros(1, 2), []
    for weight in weights:
        rule = Weighted({"a": normal, "b": normal}, {"a": weight / 2, "b": weight / 2})
        for name, how in {"ancestral": DDPM(), "dpm++": DPMSolverPP()}.items():
            source = stream(seed, "spread", weight, name)
            y = _drawn(rule, c, source, how, n)[0].double()
            sampled = float((y**2).mean())  # the mean is zero by symmetry
            rows.append((weight, name, predicted_variance(process, weight, name), sampled))
    return pd.DataFrame(rows, columns=["weight", "sampler", "predicted", "sampled"])


def spreads_view(table: pd.DataFrame) -> pd.DataFrame:
    """The spreads as a reader sees them, beside the variance of the product."""
    wide = table.pivot(index="weight", columns="sampler", values=["predicted", "sampled"])
    columns = {"product p^w": [f"{1 / w:.3g}" for w in wide.index]}
    for name, title in (("ancestral", "ancestral"), ("dpm++", "DPM-Solver++")):
        for what in ("predicted", "sampled"):
            columns[f"{title}, {what}"] = [f"{v:.3g}" for v in wide[what, name]]
    index = pd.Index([f"{w:g}" for w in wide.index], name="sum of weights")
    return pd.DataFrame(columns, index=index)


def samplers(shops: Mapping[str, Workshop], size: Profile, seed: int) -> pd.DataFrame:
    """Scores of the specialised network and of joint sampling by either sampler.

    Columns ``scenario, configuration, sampler, accuracy, total_variation``, and ``..._text`` with
    intervals; at most 300 test conditions with 10 draws each.
    """
    rows = []
    for scenario, shop in shops.items():
        small, region = shop.specialised().network, shop.scenario.specialised
        rules = {"specialised": small, "joint": joint(shop.general.network, small)}
        n = min(size.conditions, 300)
        c = shop.scenario.conditions(n, stream(seed, "test conditions"))
        for configuration, rule in rules.items():
            for name, how in SAMPLERS.items():
                y = _drawn(rule, c, stream(seed, "samplers", name), how, 10)
                hits = metrics.accuracy(y, c, region)
                variation = metrics.total_variation(y, c, region, stream(seed, "bootstrap"))
                texts = (interval(*hits), interval(*variation))
                line = (scenario, configuration, name, hits.value, variation.value, *texts)
                rows.append(line)
    scores = ["accuracy", "total_variation"]
    names = ["scenario", "configuration", "sampler", *scores, *(f"{s}_text" for s in scores)]
    return pd.DataFrame(rows, columns=names)


def samplers_view(table: pd.DataFrame) -> pd.DataFrame:
    """The same as a reader sees it."""
    view = pd.DataFrame(
        {
            "scenario": table["scenario"].str.replace("_", " "),
            "configuration": table["configuration"].map(LABELS),
            "sampler": table["sampler"].map(TITLES),
            "accuracy": table["accuracy_text"],
            "total variation": table["total_variation_text"],
        }
    )
    return view.set_index(["scenario", "configuration", "sampler"])


def collapse_sentence(table: pd.DataFrame) -> str:
    """What becomes of accuracy and total variation without fresh noise, scenario by scenario."""
    keys = zip(table["scenario"], table["configuration"], table["sampler"], strict=True)
    scores = zip(table["accuracy"], table["total_variation"], strict=True)
    found = dict(zip(keys, scores, strict=True))
    said = []
    for scenario in table["scenario"].unique():
        parts = []
        for configuration in ("specialised", "joint"):
            a, b = (found[scenario, configuration, s] for s in ("ancestral", "dpm++"))
            parts.append(
                f"{LABELS[configuration]} goes from accuracy {a[0]:.3f} and total variation "
                f"{a[1]:.3f} to {b[0]:.3f} and {b[1]:.3f}"
            )
        said.append(f"{scenario.replace('_', ' ')}, {'; '.join(parts)}")
    return (
        "Without fresh noise, "
        + ". ".join(f"in the {s}" if i == 0 else f"In the {s}" for i, s in enumerate(said))
        + "."
    )
