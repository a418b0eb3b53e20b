"""Diagnostics of joint sampling that need no truth: held-out pairs and what the members say."""

from __future__ import annotations

from typing import Any

import torch
from scipy import stats
from torch import Tensor

from dualdiff.compose import joint
from dualdiff.correct import product
from dualdiff.experiments.members import Workshop
from dualdiff.experiments.study import ScenarioTrial
from dualdiff.experiments.trial import Scores
from dualdiff.metrics import Estimate, energy_score
from dualdiff.randomness import stream
from dualdiff.resampling import effective_share
from dualdiff.samplers import sample
from dualdiff.store import Store

HELD_OUT = 32
"""Specialised pairs kept aside to ask whether joint sampling helps."""


class Diagnosis(ScenarioTrial):
    """What can be known about joint sampling without the truth: from 32 held-out pairs.

    ``energy_score_gain``: energy score of the specialised model minus that of joint sampling, on
    the same pairs (positive: joint predicts them better). ``effective_share``: effective sample
    size of the Feynman-Kac weights of 50 joint samples per pair's condition, as a share.
    ``log_weight``: their mean log weight. ``disagreement``: how far the two noise predictions are
    apart on the way (:func:`dualdiff.correct.product`). Intervals are over the pairs.
    """

    DRAWS = 50

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        asked = {"pairs": HELD_OUT, "draws": self.DRAWS}
        return {**super().config(device), "diagnosis": asked}

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """The diagnostics, of target ``held out``."""
        assert not isinstance(self.recipe, str)
        workshop = Workshop(
            self.scenario, self.recipe, self.profile, self.seed, store, device, quiet
        )
        specialised = workshop.specialised().network
        rule = joint(workshop.general.network, specialised)
        source = stream(self.seed, "rows", "held out")
        y, c = (x.to(device) for x in self.scenario.pairs("specialised", HELD_OUT, source))

        def noise() -> torch.Generator:  # the same for both, so that they differ by the model alone
            return stream(self.seed, "diagnosis", device=device)

        alone = sample(specialised, c, noise(), draws=self.DRAWS)
        run = product(rule, c, noise(), draws=self.DRAWS, start_std=1.0)
        pairs = [score_each(samples.cpu(), y.cpu()) for samples in (alone, run.samples)]
        seen = {
            "energy_score_gain": pairs[0] - pairs[1],
            "energy_score_specialised": pairs[0],
            "energy_score_joint": pairs[1],
            "effective_share": effective_share(run.log_weights),
            "log_weight": run.log_weights.mean(1),
            "disagreement": run.disagreement.mean(1),
        }
        return {("held out", name): _mean(values) for name, values in seen.items()}


def score_each(samples: Tensor, y: Tensor) -> Tensor:
    """The energy score of every pair: ``samples [n, k, dy]``, ``y [n, dy]`` to ``[n]``."""
    return torch.tensor(
        [energy_score(s[None], target[None]).value for s, target in zip(samples, y, strict=True)]
    )


def _mean(values: Tensor) -> Estimate:
    mean, error = float(values.double().mean()), float(stats.sem(values.double().cpu().numpy()))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Estimate(mean, mean - half, mean + half)
