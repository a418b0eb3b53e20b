"""Correctors: samples of the true product of the members, where a sum of their noises is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dualdiff.chunks import BLOCK, Piece, Streams, check_request, chunked, in_threads
from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser, Predict, evaluating
from dualdiff.mcmc import Kernel
from dualdiff.process import Transition, transition
from dualdiff.resampling import Resampled, Resampling, resample
from dualdiff.samplers import DDPM

Progress = Callable[[int], object]


class Corrected(NamedTuple):
    """Samples with what was seen on their way; K is the size of a group, S the number of steps.

    Parameters
    ----------
    samples : Tensor [n, draws, dy]
        Original units; with ``keep`` fewer, as of all that is per draw.
    log_weights : Tensor [n, draws]
        What is left to reweight by, up to a constant per group; zero after a last resampling.
    effective : Tensor [n, draws / K, S]
        Effective sample size of the accumulated weights before every step, as a share of the group.
    unique : Tensor [n, draws / K]
        Share of different samples in the group.
    accepted : Tensor [n, draws]
        Share of Markov moves accepted; 1 where there are none.
    disagreement : Tensor [n, draws]
        Mean over steps of the members' mean squared difference from their unweighted mean noise
        prediction, per coordinate.
    calls : float
        Network calls per sample, all members together.
    """

    samples: Tensor
    log_weights: Tensor
    effective: Tensor
    unique: Tensor
    accepted: Tensor
    disagreement: Tensor
    calls: float


def feynman_kac_step(eps: Tensor, weights: Tensor, beta: float, noise: float) -> Tensor:
    r"""What a particle's log weight gains before the step at t, ``[n]``.

    .. math:: \frac{\beta_t}{2 \sigma_t^2} \Bigl(\bigl\lVert \textstyle\sum_i w_i \varepsilon_i
              \bigr\rVert^2 - \sum_i w_i \lVert \varepsilon_i \rVert^2 \Bigr)

    ``eps [members, n, dy]``, ``weights [members]``. Skreta et al. (2025), arXiv 2503.02819, product
    of experts, in noise predictions; weights constant in t.
    """
    weights = weights.view(-1, 1, 1)
    gap = ((weights * eps).sum(0) ** 2).sum(1) - (weights * eps**2).sum((0, 2))
    return beta / (2 * noise**2) * gap


def rne_step(eps: Tensor, weights: Tensor, y: Tensor, y_next: Tensor, step: Transition) -> Tensor:
    r"""What a particle's log weight gains by the step from ``y`` to ``y_next``, ``[n]``.

    .. math:: \sum_i w_i \log p_i(y' \mid y) - \Bigl(\sum_i w_i - 1\Bigr) \log q(y \mid y')
              - \log r(y' \mid y)

    with the members' backward kernels :math:`p_i`, the forward kernel :math:`q` and the kernel that
    was sampled, :math:`r`, all of variance :math:`\beta_t`. arXiv 2506.05668.
    """
    weights = weights.view(-1, 1, 1)
    backward = ((y_next - step.mean(y.expand_as(eps), eps)) ** 2).sum(2)
    sampled = ((y_next - step.mean(y, (weights * eps).sum(0))) ** 2).sum(1)
    forward = ((y - y_next / step.scale) ** 2).sum(1)
    terms = (weights[:, :, 0] * backward).sum(0) - (weights.sum() - 1) * forward - sampled
    return -terms / (2 * step.beta)


class Members:
    """The members of a rule bound to one chunk's conditions; counts what they are asked."""

    def __init__(self, rule: Weighted, c: Tensor) -> None:
        self.process = rule.process
        active = rule.active()
        self.bound: list[Predict] = [member.bind(c) for _, member, _ in active]
        self.table = torch.tensor([column for *_, column in active]).to(c)  # [members, T]
        self.calls = 0

    def __call__(self, y: Tensor, t: int) -> Tensor:
        """Their noise predictions, ``[members, n, dy]``."""
        self.calls += len(self.bound)
        return torch.stack([predict(y, t) for predict in self.bound])

    def at(self, t: int) -> Callable[[Tensor], Tensor]:
        """Score of the product of their noised densities at step t, a function of ``y [n, dy]``."""
        return lambda y: self.sum(self(y, t), t) / -self.process.noise(t)

    def sum(self, eps: Tensor, t: int) -> Tensor:
        """The weighted sum of their noise predictions ``eps``."""
        return (self.table[:, t].view(-1, 1, 1) * eps).sum(0)


Body = Callable[[Tensor, Streams], tuple[dict[str, Tensor], int]]


def in_chunks(
    denoisers: Sequence[Denoiser],
    c: Tensor,
    generator: torch.Generator,
    body: Body,
    *,
    draws: int,
    group: int = 1,
    chunk: int | None = None,
    start_std: float = 1.0,
    progress: Progress | None = None,
) -> Corrected:
    """Run ``body(conditions, random)`` on whole groups, as many as fit a chunk, and gather.

    ``body`` gets one standardised condition per sample, and returns tensors by the names of
    :class:`Corrected` (``samples`` in standardised units; those per sample first, those per group
    in groups) and the number of network calls. What it leaves out has a neutral value. The
    ``denoisers`` that it asks share a process and are in evaluation mode meanwhile.
    """
    c = check_request(denoisers, c, draws, chunk, start_std)
    process = denoisers[0].process
    if draws % group:
        raise ValueError(f"draws must be a multiple of the group size {group}, not {draws}")
    # Blocks share a noise stream and groups must not be cut, so a block is whole groups.
    block = group * max(1, BLOCK // group)
    pieces = list(chunked(denoisers, c, generator, draws, chunk, block))
    found: dict[int, dict[str, Tensor]] = {}
    calls = 0

    def work(piece: Piece) -> int:
        nonlocal calls
        place, condition, random = piece
        found[place.start], calls = body(condition, random)
        return place.stop - place.start

    with evaluating(denoisers):
        for done in in_threads(work, pieces, c.device):
            if progress is not None:
                progress(done)
    parts = [found[place.start] for place, *_ in pieces]
    out = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for name, value in out.items():
        if not bool(torch.isfinite(value).all()):
            raise FloatingPointError(
                f"some {name.replace('_', ' ')} are not finite: a member diverges (weights too "
                f"large, or a network that was not trained?)"
            )
    n = len(c)
    zeros = c.new_zeros(n * draws)
    ones = zeros + 1
    neutral = {
        "log_weights": zeros,
        "effective": ones[: n * draws // group, None],
        "unique": ones[: n * draws // group],
        "accepted": ones,
        "disagreement": zeros,
    }
    samples = process.decode_y(out.pop("samples")).unflatten(0, (n, -1))
    seen = {name: value.unflatten(0, (n, -1)) for name, value in (neutral | out).items()}
    return Corrected(samples, **seen, calls=float(calls))


def check_ancestral(sampler: DDPM | None) -> DDPM:
    """The sampler, refused unless it takes the stochastic steps that weights are derived for."""
    sampler = DDPM() if sampler is None else sampler
    if not isinstance(sampler, DDPM) or sampler.variance != "beta":
        raise ValueError(f"sampler must be DDPM with variance 'beta', not {sampler}")
    return sampler


@torch.no_grad()
def product(
    rule: Weighted,
    c: Tensor,
    generator: torch.Generator,
    *,
    draws: int = 1,
    weights: Literal["feynman_kac", "rne"] | None = "feynman_kac",
    resampling: Resampling | None = None,
    mcmc: Kernel | None = None,
    sampler: DDPM | None = None,
    start_std: float | None = None,
    keep: int | None = None,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Corrected:
    r"""Sample a weighted sum with correction towards the product :math:`\prod_i p_i^{w_i}`.

    Before every step: Markov moves that leave the product of the noised densities invariant (if
    ``mcmc``); the weight of what the step gets wrong; resampling within groups (if
    ``resampling``), which at the last step happens always. The start is
    :math:`N(0, I / \sum_i w_i)`, what the product implies there; a start of another spread s
    multiplies the weights by the ratio of the two. Weights alone cost no network call.

    Parameters
    ----------
    rule : Weighted, or any Denoiser where samples are not weighted
        Weights constant in t if samples are weighted. A sum of sums is the product of the innermost
        members (:meth:`~dualdiff.compose.Weighted.flat`), whose scores must be those of noised
        densities: a composition of your own that is no Weighted sum is none. A member is taken for
        one density as it is, also a sum that does something else when it is called.
    c : Tensor [n, dc]
        Conditions in original units.
    generator : torch.Generator
    draws : int
        Samples per condition, a multiple of the group size if there is resampling.
    weights : {"feynman_kac", "rne"}, optional
        :func:`feynman_kac_step` or :func:`rne_step`; None: unweighted.
    resampling : Resampling, optional
        Without it the weights are returned, and weighted means over the samples are means under the
        product, up to the error of finite steps.
    mcmc : Kernel, optional
        :class:`~dualdiff.mcmc.ULA`, ``MALA`` or ``HMC`` at every step.
    sampler : DDPM, optional
        Over all steps by default, with variance "beta", for which the weights are derived.
    keep : int, optional
        Draws that are returned of every group, chosen at random after the last resampling: with one
        group per condition and ``keep=1`` samples are as independent as conditions are.
    start_std, chunk, progress
        As in :func:`dualdiff.samplers.sample`; ``start_std`` is by default what the rule implies.

    Returns
    -------
    Corrected

    Raises
    ------
    ValueError
        For shapes and values out of range, weights that change with t, resampling without weights,
        and a rule that does something else than its sum (:attr:`~dualdiff.compose.Weighted.plain`).
    FloatingPointError
        If a sample or a weight is not finite.

    Notes
    -----
    Weights err by the size of the steps, to first order, however many particles there are: for
    :math:`N(0, 1)^2 \, N(2, 1/4)`, of mean 1.333, they give 1.292 in 100 steps of the linear
    schedule and 1.310 in 200, the sum alone 1.153 (tests/test_finite_steps.py
    has the recursion). RNE weights give 1.317 and 1.325, but vary so much that this takes far more
    particles. Means of T and 2 T steps, extrapolated as
    :math:`2 m_{2T} - m_T`, err to second order: 1.327.

    Skreta et al. (2025), arXiv 2503.02819; Du et al. (2023), arXiv 2302.11552.
    """
    if weights is None and isinstance(rule, Denoiser) and not isinstance(rule, Weighted):
        rule = Weighted({"rule": rule}, {"rule": 1.0})  # its score is all that moves ask for
    if not isinstance(rule, Weighted):
        raise TypeError(f"rule must be a Weighted sum of members, not {type(rule).__name__}")
    if weights not in ("feynman_kac", "rne", None):
        raise ValueError(f"weights must be 'feynman_kac', 'rne' or None, not {weights!r}")
    if weights is None and resampling is not None:
        raise ValueError("resampling needs weights: choose 'feynman_kac' or 'rne'")
    if keep is not None and not (resampling is not None and 1 <= keep <= resampling.group):
        size = "no resampling" if resampling is None else f"groups of {resampling.group}"
        raise ValueError(f"keep must be at least 1 of a group at most, not {keep} with {size}")
    rule = rule.flat()
    if weights is not None:
        _ = rule.weights  # raises where they change with t
    start = rule.start_std if start_std is None else start_std
    chain = _Chain(rule, check_ancestral(sampler), weights, resampling, mcmc, start, keep)
    return in_chunks(
        [rule],
        c,
        generator,
        chain.run,
        draws=draws,
        group=resampling.group if resampling else 1,
        chunk=chunk,
        start_std=start,
        progress=progress,
    )


@dataclass(frozen=True)
class _Chain:
    """The corrected reverse chain of :func:`product` for one chunk."""

    rule: Weighted
    sampler: DDPM
    weights: str | None
    resampling: Resampling | None
    mcmc: Kernel | None
    start_std: float
    keep: int | None

    def run(self, c: Tensor, random: Streams) -> tuple[dict[str, Tensor], int]:
        """The samples of one chunk, standardised units, and the number of network calls."""
        process, members = self.rule.process, Members(self.rule, c)
        visited = self.sampler.timesteps(process)
        y = random() * self.start_std
        # The product starts from its own Gaussian; another start is paid for in weights.
        surplus = 0.0 if self.weights is None else self.start_std**-2 - self.rule.start_std**-2
        log_weights = surplus / 2 * (y**2).sum(1)
        seen = {"disagreement": 0 * log_weights, "accepted": 0 * log_weights + (not self.mcmc)}
        shares: list[Resampled] = []
        for t, following in pairwise([*visited, -1]):
            step, noise = transition(process, t, following), process.noise(t)
            eps = members(y, t)
            total = members.sum(eps, t)
            if self.mcmc is not None:
                size = {"variance": noise**2, "beta": step.beta}
                y, score, accepted = self.mcmc.run(members.at(t), y, total / -noise, random, **size)
                total = -noise * score
                seen["accepted"] += accepted / len(visited)
                if self.weights is not None:  # weights ask for each member's word
                    eps = members(y, t)
            seen["disagreement"] += ((eps - eps.mean(0)) ** 2).mean((0, 2)) / len(visited)
            if self.weights == "feynman_kac":
                gain = feynman_kac_step(eps, members.table[:, t], step.beta, noise)
                log_weights = log_weights + gain
            if self.resampling is not None:
                last = following < 0
                result = resample(log_weights, random.uniform(), self.resampling, last)
                y, eps, total = y[result.places], eps[:, result.places], total[result.places]
                log_weights = result.log_weights
                shares.append(result)
            before, y = y, step.mean(y, total)
            if following >= 0:
                y.add_(random(), alpha=math.sqrt(step.beta))
                if self.weights == "rne":
                    gain = rne_step(eps, members.table[:, t], before, y, step)
                    log_weights = log_weights + gain
        seen |= {"samples": y, "log_weights": log_weights}
        if shares:
            seen["effective"] = torch.stack([result.effective for result in shares], 1)
            seen["unique"] = shares[-1].unique
        if self.keep is not None and self.resampling is not None:
            # At random: neighbours are often copies of one particle.
            order = random.uniform().view(-1, self.resampling.group).argsort(1)[:, : self.keep]
            base = torch.arange(len(order), device=y.device)[:, None] * self.resampling.group
            for name in ("samples", "log_weights", "disagreement", "accepted"):
                seen[name] = seen[name][(base + order).flatten()]
        return seen, members.calls
