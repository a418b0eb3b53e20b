"""Training: ``fit`` is a generator of steps, so progress, curves and stopping stay outside."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from numbers import Integral
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dualdiff.denoisers import Denoiser
from dualdiff.gradients import Gradient, differentiable
from dualdiff.process import Process, floating
from dualdiff.randomness import check_generator, one_thread


@dataclass(frozen=True)
class Optimisation:
    """How a network is trained, apart from how long.

    Parameters
    ----------
    optimiser : {"adam", "adamw"}
    learning_rate : float
    decay : {"step", "cosine"}
        Times 0.9 every 10 epochs (the thesis), or half a cosine down to zero over the run.
    ema : float, optional
        Horizon of an exponential moving average of the weights as a share of the run; the
        average replaces the weights at the end. None: no average.
    """

    optimiser: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-3
    decay: Literal["step", "cosine"] = "step"
    ema: float | None = None

    def __post_init__(self) -> None:
        if self.optimiser not in ("adam", "adamw"):
            raise ValueError(f"optimiser must be 'adam' or 'adamw', not {self.optimiser!r}")
        if self.decay not in ("step", "cosine"):
            raise ValueError(f"decay must be 'step' or 'cosine', not {self.decay!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if self.ema is not None and not 0 < self.ema <= 1:
            raise ValueError(f"ema must be in (0, 1], the share of the run, not {self.ema}")


@dataclass(frozen=True)
class Prior:
    """Pairs that fine-tuning must not forget (prior preservation).

    Parameters
    ----------
    y, c : Tensor [n, dy], [n, dc]
        General pairs in original units: replayed training rows, or conditions with samples that
        the general model itself drew there.
    weight : float
        lambda of ``L = L_specialised + lambda L_prior``; 1 in the authors' reference code.

    Notes
    -----
    Ruiz et al. (2023), "DreamBooth", section 3.3.
    """

    y: Tensor
    c: Tensor
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"prior weight must be positive and finite, not {self.weight}")


class Step(NamedTuple):
    """One training step: its epoch (from 0), its number in the run, its loss (a scalar tensor)."""

    epoch: int
    number: int
    loss: Tensor


def checked_pairs(process: Process, y: Any, c: Any) -> tuple[Tensor, Tensor]:
    """Pairs in original units as numbers ``[n, dy]`` and ``[n, dc]``, n >= 1.

    Raises
    ------
    ValueError
        For other shapes, and for values that are not finite.
    """
    y, c = floating("y", y), floating("c", c)
    for name, rows, d in (("y", y, process.dy), ("c", c, process.dc)):
        if rows.ndim != 2 or rows.shape[1] != d or len(rows) == 0:
            raise ValueError(f"{name} must have shape [n >= 1, {d}], not {list(rows.shape)}")
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(f"{name} must be finite; some rows are NaN or infinite")
    if len(y) != len(c):
        raise ValueError(f"y and c must have the same number of rows, not {len(y)} and {len(c)}")
    return y, c


def standardised(denoiser: Denoiser, y: Any, c: Any) -> tuple[Tensor, Tensor]:
    """Training pairs in standardised units, in the network's precision and where it is."""
    process, held = denoiser.process, next(denoiser.parameters(), None)
    if held is None:
        raise ValueError(f"a {type(denoiser).__name__} has no weights that training could change")
    y, c = (rows.detach().to(held) for rows in checked_pairs(process, y, c))
    return process.encode_y(y), process.encode_c(c)


def noise_loss(
    denoiser: Denoiser, y: Tensor, c: Tensor, generator: torch.Generator, p_uncond: float = 0.0
) -> Tensor:
    r"""Mean squared error of the noise prediction at random steps, a scalar.

    .. math:: E_{t, \varepsilon}\, w_t
              \lVert \varepsilon - \varepsilon_\theta(y_t, t, c) \rVert^2 / d_y

    ``y [n, dy]`` and ``c [n, dc]`` in standardised units, t uniform over {0..T-1}; the weight is
    1 (Ho et al. 2020, equation 14), or ``denoiser.loss_weight(t)`` where it has one. Every row's
    condition is withheld with probability ``p_uncond`` (Ho and Salimans 2022, algorithm 1).
    """
    return noise_error(denoiser, *_noised(denoiser.process, y, c, generator, p_uncond))


def _noised(
    process: Process, y: Tensor, c: Tensor, generator: torch.Generator, p_uncond: float
) -> list[Tensor]:
    """Pairs with the steps and the noise that they get, as :func:`noise_error` takes them."""
    t = torch.randint(process.steps, (len(y),), generator=generator, device=y.device)
    eps = torch.empty_like(y).normal_(generator=generator)
    if p_uncond <= 0:
        return [y, t, c, eps]
    chance = torch.rand(len(y), generator=generator, device=y.device, dtype=torch.float32)
    return [y, t, c, eps, chance < p_uncond]


def noise_error(
    denoiser: Denoiser, y: Tensor, t: Tensor, c: Tensor, eps: Tensor, *masked: Tensor
) -> Tensor:
    """:func:`noise_loss` at given steps ``t [n]`` and with given noise ``eps [n, dy]``."""
    error = (eps - denoiser(denoiser.process.diffuse(y, t, eps), t, c, *masked)) ** 2
    weight = getattr(denoiser, "loss_weight", None)
    return (error if weight is None else error * weight(t)).mean()


def fit(
    denoiser: Denoiser,
    y: Tensor,
    c: Tensor,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    optimisation: Optimisation | None = None,
    prior: Prior | None = None,
    rows_per_epoch: int | None = None,
    p_uncond: float = 0.0,
) -> Run:
    """Train ``denoiser`` in place, yielding every step; fine-tuning is the same call.

    The data are tensors, arrays, data frames or lists; they are moved to where the denoiser is, and
    indexed, never looped over. The last, smaller batch of an epoch is used too. Stopping early
    leaves the weights as they are then (without the average). The same generator gives the same
    weights, whatever the number of threads.

    Parameters
    ----------
    denoiser : Denoiser
        A network; also one of your own or a wrapped one.
    y, c : Tensor [n, dy], [n, dc]
        Training pairs in original units.
    epochs, batch_size : int
    generator : torch.Generator
        On the data's device; source of the order, the steps and the noise.
    optimisation : Optimisation
        Default: Adam as in the thesis.
    prior : Prior, optional
        Adds its loss on as many random prior pairs as the batch has; part of the loss yielded.
    rows_per_epoch : int, optional
        Rows that an epoch visits, all of them if not given. Training sets of different sizes then
        get the same steps: a small one is gone through several times, a large one in parts.
    p_uncond : float
        Probability of withholding a row's condition, for classifier-free guidance; needs a network
        built with ``Architecture(maskable=True)``.

    Yields
    ------
    Step

    Raises
    ------
    ValueError
        At the call: for rows and numbers out of range, a generator that is none, and a network that
        is frozen altogether.

    Warns
    -----
    UserWarning
        If nobody asks for a step: a run that never began trains nothing.
    """
    check_generator(generator)
    y, c = standardised(denoiser, y, c)
    visited = len(y) if rows_per_epoch is None else rows_per_epoch
    counts = (("epochs", epochs), ("batch_size", batch_size), ("rows_per_epoch", visited))
    for name, value in counts:
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, not {value}")
    maskable = getattr(getattr(denoiser, "architecture", None), "maskable", False)
    if not 0 <= p_uncond < 1 or (p_uncond > 0 and not maskable):
        raise ValueError(
            f"p_uncond must be 0, or below 1 for a network with Architecture(maskable=True), "
            f"not {p_uncond}"
        )
    how = Optimisation() if optimisation is None else optimisation
    old = (y, c) if prior is None else standardised(denoiser, prior.y, prior.c)
    parameters = [p for p in denoiser.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the denoiser is frozen: let it learn with denoiser.requires_grad_(True)")
    total = epochs * -(-visited // batch_size)
    weights, averaged = list[nn.Parameter](), list[Tensor]()

    def run() -> Generator[Step, None, None]:
        by_hand = Gradient(denoiser) if differentiable(denoiser) else None
        weights.extend(parameters if by_hand is None else [by_hand.flat])
        optimiser, schedule = _optimiser(weights, how, total // epochs, total)
        if how.ema is not None:
            averaged.extend(p.detach().clone() for p in weights)

        def learn(share: float, y: Tensor, c: Tensor, rows: Tensor) -> Tensor:
            """The loss of some rows; its gradient is added to that of the weights."""
            batch = _noised(denoiser.process, y[rows], c[rows], generator, p_uncond)
            if by_hand is not None:
                return by_hand(share, *batch)
            loss = share * noise_error(denoiser, *batch)
            loss.backward()
            return loss.detach()

        where: Any = {"generator": generator, "device": y.device}
        left = torch.empty(0, dtype=torch.long, device=y.device)
        for epoch in range(epochs):
            while len(left) < visited:
                left = torch.cat([left, torch.randperm(len(y), **where)])
            order, left = left[:visited], left[visited:]
            for number, rows in enumerate(order.split(batch_size), epoch * (total // epochs)):
                with one_thread(denormals=False):
                    optimiser.zero_grad()
                    loss = learn(1.0, y, c, rows)
                    if prior is not None:
                        some = torch.randint(len(old[0]), (len(rows),), **where)
                        loss = loss + learn(prior.weight, *old, some)
                    optimiser.step()
                    schedule.step()
                    if how.ema is not None:
                        # The horizon is ema * total steps once that many have passed.
                        share = 1 / min(number + 1, max(1.0, how.ema * total))
                        torch._foreach_lerp_(averaged, [p.detach() for p in weights], share)
                yield Step(epoch, number, loss)
        _swap(weights, averaged)
        averaged.clear()

    return Run(run(), total // epochs, weights, averaged)


def _swap(parameters: list[nn.Parameter], others: list[Tensor]) -> None:
    """Exchange the values of the two, where there are others."""
    with torch.no_grad():
        for parameter, other in zip(parameters, others, strict=False):
            held = parameter.clone()
            parameter.copy_(other)
            other.copy_(held)


@dataclass(eq=False)
class Run(Iterator[Step]):
    """The steps of a run; says so if it is thrown away before its first one.

    Attributes
    ----------
    per_epoch : int
        Steps of an epoch.
    """

    _steps: Generator[Step, None, None]
    per_epoch: int
    _weights: list[nn.Parameter]
    _averaged: list[Tensor]
    _begun: bool = False

    @contextmanager
    def averages(self) -> Iterator[None]:
        """The network with the average of its weights so far, where there is one, as it would be at
        the end; afterwards training goes on from where it was."""
        _swap(self._weights, self._averaged)
        try:
            yield
        finally:
            _swap(self._weights, self._averaged)

    def __next__(self) -> Step:
        self._begun = True
        return next(self._steps)

    def close(self) -> None:
        """End the run where it is; there are no more steps."""
        self._begun = True
        self._steps.close()

    def __del__(self) -> None:
        if not self._begun:
            warnings.warn(
                "fit was called and nothing was trained: it is a generator of steps, so loop over "
                "it, or over epoch_losses(fit(...))",
                stacklevel=2,
            )


def _optimiser(
    parameters: list[nn.Parameter], how: Optimisation, per_epoch: int, total: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    kind = torch.optim.Adam if how.optimiser == "adam" else torch.optim.AdamW
    optimiser = kind(parameters, lr=how.learning_rate, fused=True)
    if how.decay == "step":
        return optimiser, torch.optim.lr_scheduler.StepLR(optimiser, 10 * per_epoch, 0.9)
    return optimiser, torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)


def epoch_losses(steps: Iterator[Step]) -> Iterator[float]:
    """Fold steps into the mean loss of every epoch, as the thesis plots it.

    Raises
    ------
    FloatingPointError
        If a mean loss is not finite: training has diverged.
    """
    for epoch, group in groupby(steps, lambda step: step.epoch):
        yield finite(epoch, float(torch.stack([step.loss for step in group]).mean()))


def finite(epoch: int, mean: float) -> float:
    """The mean loss of an epoch, refused where training has diverged."""
    if not math.isfinite(mean):
        raise FloatingPointError(f"training diverged: the loss of epoch {epoch + 1} is {mean}")
    return mean
