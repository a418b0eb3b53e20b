"""Laws of samplers."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from dualdiff.checks.report import ERRORS, Report, close, report
from dualdiff.exact import ExactMixture
from dualdiff.process import Process
from dualdiff.samplers import Sampler, State, sample

MEAN, VARIANCE = 1.5, 0.25
SAMPLES = 20_000
BIAS = 0.06
"""Of a spread or a mean, in spreads of the law, that finite steps may cost (beta as variance)."""


def check_sampler(sampler: Sampler, generator: torch.Generator) -> Report:
    """The laws of a :class:`~dualdiff.samplers.Sampler`.

    It visits the steps from T - 1 down to 0; a step changes nothing of the state that it is given,
    and a batch is its rows; it samples a Gaussian with the right mean and spread; the same seed
    gives the same samples in chunks of any size; and it is deterministic exactly if it says so.

    Parameters
    ----------
    sampler : Sampler
        With 20 steps or more; ``steps=None`` takes 200.
    generator : torch.Generator

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For what is no Sampler.
    """
    if not isinstance(sampler, Sampler):
        raise ValueError(
            f"sampler must be a Sampler (with its settings, such as DDPM()), not {sampler!r}"
        )
    process = Process.log_snr(200, high=8.0, low=-8.0, dy=1, dc=1)
    law = ExactMixture(process, [1.0], [[MEAN]], [[[VARIANCE]]])
    c = torch.zeros(SAMPLES, 1, dtype=torch.float32)
    y = torch.randn(50, 1, generator=generator, dtype=torch.float32)
    other = torch.randn(50, 1, generator=generator, dtype=torch.float32)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    predict = law.bind(c[:50])

    def drawn(k: int = 0, chunk: int | None = None) -> torch.Tensor:
        source = torch.Generator().manual_seed(seed + k)
        return sample(law, c, source, sampler=sampler, chunk=chunk)[:, 0]

    def visits() -> tuple[bool, str]:
        steps = sampler.timesteps(process)
        falls = all(a > b for a, b in pairwise(steps))
        ends = steps[0] == process.steps - 1 and (steps[-1] == 0 or len(steps) == 1)
        return falls and ends, f"{len(steps)} steps, from {steps[0]} to {steps[-1]}"

    def pure() -> tuple[bool, str]:
        before, predicted = y.clone(), predict(y, 100).clone()
        some = [sampler.step(process, predict, State(y, 100), 99, lambda: other) for _ in "12"]
        same = torch.equal(some[0].y, some[1].y) and torch.equal(predict(y, 100), predicted)
        kept = torch.equal(y, before)
        return same and kept, f"the same step again: {same}, the state is kept: {kept}"

    def rows() -> tuple[bool, str]:
        whole = sampler.step(process, predict, State(y, 100), 99, lambda: other).y
        one = law.bind(c[:1])
        each = [
            sampler.step(process, one, State(y[i], 100), 99, partial(Tensor.clone, other[i])).y
            for i in torch.arange(5).split(1)
        ]
        return close(whole[:5], torch.cat(each), 1e-5)

    def gaussian() -> tuple[bool, str]:
        found, spread = drawn().double(), math.sqrt(VARIANCE)
        mean, std = float(found.mean()), float(found.std())
        error = ERRORS / math.sqrt(SAMPLES)
        right = abs(mean - MEAN) < spread * (BIAS + error) and abs(std / spread - 1) < BIAS + error
        seen = f"mean {mean:.3f} for {MEAN}, spread {std:.3f} for {spread:.3f}"
        return right, f"{seen}, allowed {BIAS} of the spread and {ERRORS:g} standard errors"

    def chunks() -> tuple[bool, str]:
        first = drawn(chunk=4096)
        near, seen = close(drawn(chunk=1024), first, 1e-4)
        differs = not torch.equal(drawn(1), first)
        return near and differs, f"{seen}; another seed gives others: {differs}"

    def honest() -> tuple[bool, str]:
        steps, ends = sampler.timesteps(process), []
        for sign in (1, -1):
            state = State(y, steps[0])
            for following in [*steps[1:], -1]:
                noise = partial(torch.mul, sign, other)
                state = sampler.step(process, predict, state, following, noise)
            ends.append(state.y)
        same = torch.equal(ends[0], ends[1])
        said = "deterministic" if sampler.deterministic else "not deterministic"
        return same == sampler.deterministic, f"says {said}; other noise, same samples: {same}"

    return report(
        sampler,
        {
            "it visits steps from T - 1 down to 0": visits,
            "a step changes nothing that it is given, and is the same again": pure,
            "a batch is its rows one by one": rows,
            "a Gaussian has its mean and its spread": gaussian,
            "the same seed gives the same samples in chunks of any size": chunks,
            "it is deterministic exactly if it says so": honest,
        },
    )
