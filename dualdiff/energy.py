"""Experts that are no network: a model times a function whose logarithm has a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualdiff.chunks import Streams
from dualdiff.compose import Weighted
from dualdiff.correct import Corrected, Progress, check_ancestral, in_chunks
from dualdiff.denoisers import Denoiser, check_denoiser
from dualdiff.process import Process, floating, transition
from dualdiff.resampling import Resampling, resample
from dualdiff.samplers import DDPM

LogDensity = Callable[[Tensor, float], Tensor]
"""``log_density(y, noise)``: targets ``[n, dy]`` in original units and the standard deviation
:math:`\\sigma_t` of the noise under which they were predicted (0: they are samples), to ``[n]``."""


class Guided(NamedTuple):
    """What a prior predicts at a state, :math:`\\log h` of the clean prediction ``[n]``, and its
    gradient by the state."""

    eps: Tensor
    log_h: Tensor
    gradient: Tensor


class Energy(Denoiser):
    r"""A model times a known function, :math:`p(y)\, h(y)`: an equation, an observation, a goal.

    .. math:: \varepsilon = \varepsilon_p - \sigma_t \nabla_{y_t} \log h(\hat y_0, \sigma_t), \qquad
              \hat y_0 = (y_t - \sigma_t \varepsilon_p / B) / \sqrt{\bar\alpha_t}

    h is asked where the model expects the clean target, since nobody knows it of noised ones;
    B is 1, or the total weight where the model is a sum. So this is an approximation, like
    any sum of noises; exact where h allows for what is uncertain at a step and that is Gaussian,
    see :class:`Observation`. :func:`twisted` corrects it.

    The function has no share of the unit Gaussian from which samplers start: the model has it for
    both. So weights go on: ``guided(p, {"h": Energy(p, h)}, {"h": w})`` is :math:`p\, h^w`, and
    ``joint(Energy(general, h), specialised)`` a product of three.

    Parameters
    ----------
    prior : Denoiser
        The model p, differentiable by torch where ``jacobian``.
    log_density : function
        :data:`LogDensity`: log h up to a constant, of torch operations, each row by itself.
    jacobian : bool
        Whether the gradient goes through the model. Without, :math:`\partial \hat y_0 / \partial
        y_t` is taken for :math:`1/\sqrt{\bar\alpha_t}`: cheaper and coarser.

    Raises
    ------
    ValueError
        For a prior that is no denoiser; in a call for a log density of another shape.

    Notes
    -----
    Chung et al. (2023), arXiv 2209.14687, equation 10; Song et al. (2023), "Pseudoinverse-guided
    diffusion models".
    """

    def __init__(self, prior: Denoiser, log_density: LogDensity, *, jacobian: bool = True) -> None:
        super().__init__()
        check_denoiser("prior", prior)
        self.process, self.prior = prior.process, prior
        self.function, self.jacobian = log_density, jacobian

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        if isinstance(t, Tensor) and t.ndim:
            eps = torch.empty_like(y)
            for step in t.unique().tolist():
                of = t == step
                eps[of] = self.forward(y[of], step, c[of])
            return eps
        found = self.guide(y, int(t), c)
        return found.eps - self.process.noise(int(t)) * found.gradient

    def guide(self, y: Tensor, t: int, c: Tensor) -> Guided:
        """The prior's word at states ``y [n, dy]``, standardised units, and the function's."""
        noise, signal = self.process.noise(t), self.process.signal(t)
        total = float(self.prior.total[t]) if isinstance(self.prior, Weighted) else 1.0
        graph = torch.is_grad_enabled() and y.requires_grad  # an energy around this one asks
        with torch.inference_mode(False), torch.enable_grad():
            at = y if graph else y.detach().clone().requires_grad_()
            eps = self.prior(at if self.jacobian else at.detach(), t, c.clone())
            clean = self.process.decode_y((at - noise / total * eps) / signal)
            log_h = self.value(clean, noise)
            (gradient,) = torch.autograd.grad(log_h.sum(), at, create_graph=graph)
        found = Guided(eps, log_h, gradient)
        return found if graph else Guided(*(part.detach() for part in found))

    def value(self, y: Tensor, noise: float) -> Tensor:
        """:math:`\\log h`, checked for its shape."""
        found = self.function(y, noise)
        if not isinstance(found, Tensor) or found.shape != y.shape[:1]:
            form = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(f"log_density must give one number per row, {[len(y)]}, not {form}")
        return found


class Observation:
    r"""Log density of linear observations :math:`o = A y + N(0, s^2 I)`, a :data:`LogDensity`.

    .. math:: \log h(\hat y_0, \sigma_t) = \log N\bigl(o;\, A \hat y_0,\, s^2 I + A C_t A^\top
              \bigr), \qquad C_t = \bigl(\Sigma^{-1} + \bar\alpha_t / \sigma_t^2\bigr)^{-1}

    :math:`C_t` is what a noised target still leaves uncertain if targets are Gaussian with
    covariance :math:`\Sigma`; then this is exact for one model, and samples follow the posterior of
    Kalman and of kriging. With the identity it is :math:`\sigma_t^2 I`; with zeros the prediction
    is taken for certain, as in diffusion posterior sampling. Where much is observed with little
    noise and :math:`\Sigma` is nearly singular the gradient is stiff, and a network that is not
    well trained may diverge: the identity is safer.

    Parameters
    ----------
    process : Process
        Its units.
    matrix : Tensor [m, dy]
        A, for targets in original units.
    values : Tensor [m]
        What was observed.
    std : float
        s, positive, in units of the values.
    covariance : Tensor [dy, dy], optional
        :math:`\Sigma` in standardised units, the identity if not given.

    Raises
    ------
    ValueError
        For other shapes and values, and a covariance that is none.
    """

    def __init__(
        self, process: Process, matrix: Any, values: Any, std: float, covariance: Any = None
    ) -> None:
        matrix = process.rows("y", matrix).double()
        values = floating("values", values).double()
        if matrix.ndim != 2 or values.shape != matrix.shape[:1] or not len(values):
            raise ValueError(
                f"matrix must be [m, {process.dy}] and values [m] with m >= 1, not "
                f"{list(matrix.shape)} and {list(values.shape)}"
            )
        if not bool(torch.isfinite(matrix).all() and torch.isfinite(values).all()):
            raise ValueError("matrix and values must be finite")
        if not (std > 0 and math.isfinite(std)):
            raise ValueError(f"std must be positive and finite, not {std}")
        dy = process.dy
        found = torch.eye(dy) if covariance is None else floating("covariance", covariance)
        if found.shape != (dy, dy) or not torch.allclose(found, found.mT):
            raise ValueError(f"covariance must be symmetric, {[dy, dy]}, not {list(found.shape)}")
        variances, basis = torch.linalg.eigh(found.double())
        if float(variances.min()) < -1e-6 * float(variances.max().abs()):
            raise ValueError("covariance must be positive semi-definite")
        self.matrix, self.values, self.std = matrix, values, std
        self.variances = variances.clamp(min=0)
        self.seen = matrix * process.y_std.double() @ basis  # what is observed of each direction
        self._factors: dict[float, Tensor] = {}

    def __call__(self, y: Tensor, noise: float) -> Tensor:
        off = self.values.to(y.device) - y.double() @ self.matrix.to(y.device).T
        factor = self._factor(noise).to(y.device)
        z = torch.linalg.solve_triangular(factor, off.T, upper=False)
        return (-0.5 * (z**2).sum(0) - factor.diagonal().log().sum()).to(y.dtype)

    def _factor(self, noise: float) -> Tensor:
        """Cholesky factor of the covariance of what is observed, made once for a step."""
        if noise not in self._factors:
            spread = (1 - noise**2) * self.variances + noise**2
            left = self.variances * noise**2 / spread.clamp(min=1e-300)
            covariance = (self.seen * left) @ self.seen.T
            covariance.diagonal().add_(self.std**2)
            self._factors[noise] = torch.linalg.cholesky(covariance)
        return self._factors[noise]


@torch.no_grad()
def twisted(
    rule: Energy,
    c: Tensor,
    generator: torch.Generator,
    *,
    resampling: Resampling,
    draws: int | None = None,
    sampler: DDPM | None = None,
    keep: int | None = None,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Corrected:
    r"""Sample :math:`p(y)\, h(y)` by sequential Monte Carlo with the guided steps as proposals.

    A particle's log weight gains by the step from y to y'

    .. math:: \log \frac{p(y' \mid y)\, h_{t'}(y')}{r(y' \mid y)\, h_t(y)}, \qquad
              h_t(y) = h(\hat y_0(y), \sigma_t)

    with the ancestral steps p of the prior and r of the rule. With more and more particles the
    samples follow the law of the prior's own samples times :math:`h(\cdot, 0)`, whatever the
    function says of noised targets: that only helps to get there. Weights begin with
    :math:`h_T(y_T)`; the last step, to the clean target, is the prior's own, and there the function
    is asked at noise 0.

    Parameters
    ----------
    rule : Energy
    c : Tensor [n, dc]
        Conditions in original units.
    generator : torch.Generator
    resampling : Resampling
        Particles compete within their group; after the last step every group resamples.
    draws : int, optional
        Samples per condition, a multiple of the group size, which is the default.
    sampler, keep, chunk, progress
        As in :func:`dualdiff.correct.product`.

    Returns
    -------
    Corrected
        ``effective`` has one entry more than there are steps, that of the final weights.

    Raises
    ------
    ValueError
        For shapes and values out of range.
    FloatingPointError
        If a sample or a weight is not finite.

    Notes
    -----
    Wu et al. (2023), arXiv 2306.17775, algorithm 1.
    """
    if not isinstance(rule, Energy):
        raise TypeError(f"rule must be an Energy, not {type(rule).__name__}")
    if keep is not None and not 1 <= keep <= resampling.group:
        raise ValueError(f"keep must be from 1 to the group's {resampling.group}, not {keep}")
    start = rule.prior.start_std if isinstance(rule.prior, Weighted) else 1.0
    return in_chunks(
        [rule],
        c,
        generator,
        _Twisted(rule, check_ancestral(sampler), resampling, start, keep).run,
        draws=resampling.group if draws is None else draws,
        group=resampling.group,
        chunk=chunk,
        start_std=start,
        progress=progress,
    )


@dataclass(frozen=True)
class _Twisted:
    """The chain of :func:`twisted` for one chunk."""

    rule: Energy
    sampler: DDPM
    resampling: Resampling
    start_std: float
    keep: int | None

    def run(self, c: Tensor, random: Streams) -> tuple[dict[str, Tensor], int]:
        """The samples of one chunk, standardised units, and the number of network calls."""
        process, how = self.rule.process, self.resampling
        visited = self.sampler.timesteps(process)
        y = random() * self.start_std
        log_weights, effective = y.new_zeros(len(y)), list[Tensor]()
        for t, following in pairwise([*visited, -1]):
            step, found = transition(process, t, following), self.rule.guide(y, t, c)
            result = resample(log_weights + found.log_h, random.uniform(), how, last=False)
            effective.append(result.effective)
            y, (eps, log_h, gradient) = y[result.places], (part[result.places] for part in found)
            log_weights = result.log_weights - log_h
            alone = step.mean(y, eps)
            if following < 0:
                y = alone
                continue
            guided, z = step.mean(y, eps - process.noise(t) * gradient), random()
            y = guided + math.sqrt(step.beta) * z
            gain = ((y - guided) ** 2 - (y - alone) ** 2).sum(1) / (2 * step.beta)
            log_weights = log_weights + gain
        log_weights = log_weights + self.rule.value(process.decode_y(y), 0.0)
        result = resample(log_weights, random.uniform(), how, last=True)
        effective.append(result.effective)
        order = torch.arange(how.group, device=y.device).expand(len(y) // how.group, -1)
        if self.keep is not None:  # at random: neighbours are often copies of one particle
            order = random.uniform().view(-1, how.group).argsort(1)[:, : self.keep]
        first = torch.arange(len(order), device=y.device)[:, None] * how.group
        zeros = y.new_zeros(order.numel())
        seen = {
            "samples": y[result.places][(first + order).flatten()],
            "log_weights": zeros,
            "disagreement": zeros,
            "accepted": zeros + 1,
            "effective": torch.stack(effective, 1),
            "unique": result.unique,
        }
        asked = self.rule.prior
        calls = len(asked.active()) if isinstance(asked, Weighted) else 1
        return seen, calls * len(visited)
