"""Correctors towards the true product: so far the weights that say how far a sum is from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser, Predict
from dualdiff.samplers import DDPM, Piece, check_request, chunked, in_threads, reverse


class WeightedSamples(NamedTuple):
    """Samples of a weighted sum with what was seen on their way.

    ``samples [n, draws, dy]`` in original units; ``log_weights [n, draws]`` towards the product
    (up to a constant); ``disagreement [n, draws]``, the mean over steps of the members' mean
    squared difference from their unweighted mean noise prediction, per coordinate.
    """

    samples: Tensor
    log_weights: Tensor
    disagreement: Tensor


class _Recorder(Denoiser):
    """A weighted sum that adds up, along one chunk's way, what its members say."""

    def __init__(self, rule: Weighted, beta: dict[int, float]) -> None:
        super().__init__()
        self.process, self.rule, self.beta = rule.process, rule, beta
        self.log_weights = self.disagreement = torch.zeros(())

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.rule(y, t, c)

    def bind(self, c: Tensor) -> Predict:
        active = {name: m for name, m in self.rule.members.items() if self.rule.weights[name]}
        bound = [(self.rule.weights[name], m.bind(c)) for name, m in active.items()]
        self.log_weights = self.disagreement = c.new_zeros(len(c))

        def predict(y: Tensor, t: int) -> Tensor:
            eps = torch.stack([member(y, t) for _, member in bound])
            weights = eps.new_tensor([weight for weight, _ in bound]).view(-1, 1, 1)
            total = (weights * eps).sum(0)
            gap = (total**2).sum(1) - (weights * eps**2).sum((0, 2))
            scale = self.beta[t] / (2 * self.process.noise(t) ** 2)
            self.log_weights = self.log_weights + scale * gap
            spread = eps.var(0, correction=0).mean(1)
            self.disagreement = self.disagreement + spread / len(self.beta)
            return total

        return predict


def feynman_kac(
    rule: Weighted,
    c: Tensor,
    generator: torch.Generator,
    *,
    sampler: DDPM | None = None,
    draws: int = 1,
    start_std: float | None = None,
    chunk: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> WeightedSamples:
    r"""Sample a weighted sum and accumulate the Feynman-Kac log weights, without resampling.

    With the weights :math:`w = \exp(\sum_t \Delta_t)`,

    .. math:: \Delta_t = \frac{\beta_t}{2 \sigma_t^2} \Bigl(\bigl\lVert \textstyle\sum_i w_i
              \varepsilon_i \bigr\rVert^2 - \sum_i w_i \lVert \varepsilon_i \rVert^2 \Bigr),

    times the ratio of :math:`N(y_T; 0, I / \sum_i w_i)` to :math:`N(y_T; 0, s^2 I)`, from which the
    chain starts, weighted means over the samples are means under the product
    :math:`\prod_i p_i^{w_i}`, up to the error of finite steps. No extra network calls.

    Parameters
    ----------
    rule : Weighted
        Weights constant in t.
    c : Tensor [n, dc]
        Conditions in original units.
    generator : torch.Generator
    sampler : DDPM, optional
        Over all steps by default. The derivation is for the stochastic sampler.
    draws : int
        Samples per condition: the group within which weights are compared.
    start_std : float, optional
        s, by default what the rule implies, :attr:`Weighted.start_std`, where the ratio is 1.
    chunk, progress
        As in :func:`dualdiff.samplers.sample`.

    Returns
    -------
    WeightedSamples

    Raises
    ------
    ValueError
        For shapes and values out of range.
    FloatingPointError
        If a sample or a weight is not finite.

    Notes
    -----
    Skreta et al. (2025), arXiv 2503.02819, product of experts; here in noise predictions.
    """
    if not isinstance(rule, Weighted):
        raise TypeError(f"rule must be a Weighted sum of members, not {type(rule).__name__}")
    sampler = DDPM() if sampler is None else sampler
    process = rule.process
    steps = [*sampler.timesteps(process), -1]
    beta = {
        t: 1 - process.alpha_bar_at(t) / process.alpha_bar_at(after) for t, after in pairwise(steps)
    }
    start = rule.start_std if start_std is None else start_std
    check_request(rule, c, draws, chunk, start)
    out = torch.empty(len(c) * draws, process.dy, device=c.device)
    log_weights, disagreement = out.new_empty(len(out)), out.new_empty(len(out))

    def work(piece: Piece) -> int:
        place, condition, noise = piece
        recorder = _Recorder(rule, beta)
        states = reverse(recorder, condition, sampler, noise, start_std=start)
        first = last = next(states)
        for state in states:
            last = state
        out[place] = process.decode_y(last.y)
        ratio = (start**-2 - rule.start_std**-2) / 2 * (first.y**2).sum(1)
        log_weights[place] = recorder.log_weights + ratio
        disagreement[place] = recorder.disagreement
        return place.stop - place.start

    for done in in_threads(work, chunked(rule, c, generator, draws, chunk), c.device):
        if progress is not None:
            progress(done)
    if not bool(torch.isfinite(out).all() and torch.isfinite(log_weights).all()):
        raise FloatingPointError("some samples or weights are not finite: a member diverges")
    n = len(c)
    return WeightedSamples(
        out.view(n, draws, -1), log_weights.view(n, draws), disagreement.view(n, draws)
    )


def effective_share(log_weights: Tensor) -> Tensor:
    r"""Effective sample size as a share of the group, per condition.

    .. math:: \frac{(\sum_k w_k)^2}{K \sum_k w_k^2}

    ``log_weights [n, K]`` to ``[n]``, between 1 / K (one sample carries all) and 1 (Kong 1992).

    Raises
    ------
    ValueError
        If the weights are not finite or not ``[n, K >= 1]``.
    """
    if log_weights.ndim != 2 or log_weights.shape[1] < 1:
        raise ValueError(f"log_weights must have shape [n, K >= 1], not {list(log_weights.shape)}")
    if not bool(torch.isfinite(log_weights).all()):
        raise ValueError("log_weights must be finite")
    first, second = (torch.logsumexp(k * log_weights.double(), 1) for k in (1, 2))
    return torch.exp(2 * first - second - math.log(log_weights.shape[1]))
