"""The steps of training: of one denoiser, or of a stack of networks of one shape."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dualdiff.denoisers import Denoiser
from dualdiff.gradients import Gradient, differentiable
from dualdiff.process import Process
from dualdiff.randomness import one_thread


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


class Step(NamedTuple):
    """One training step: its epoch (from 0), its number in the run, its loss (a scalar tensor)."""

    epoch: int
    number: int
    loss: Tensor


def noised(
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
    """:func:`~dualdiff.training.noise_loss` at given steps ``t [n]`` and with given noise
    ``eps [n, dy]``."""
    error = (eps - denoiser(denoiser.process.diffuse(y, t, eps), t, c, *masked)) ** 2
    weight = getattr(denoiser, "loss_weight", None)
    return (error if weight is None else error * weight(t)).mean()


@dataclass(eq=False)
class Learner:
    """A network with its pairs, and those that it must not forget, in standardised units."""

    denoiser: Denoiser
    pairs: tuple[Tensor, Tensor]
    generator: torch.Generator
    old: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        self._where: Any = {"generator": self.generator, "device": self.pairs[0].device}
        self._left = torch.empty(0, dtype=torch.long, device=self.pairs[0].device)

    def order(self, visited: int) -> Tensor:
        """The rows of the next epoch."""
        while len(self._left) < visited:
            fresh = torch.randperm(len(self.pairs[0]), **self._where)
            self._left = torch.cat([self._left, fresh])
        order, self._left = self._left[:visited], self._left[visited:]
        return order

    def batch(self, rows: Tensor, p_uncond: float) -> list[Tensor]:
        """These rows with the steps and the noise that they get."""
        y, c = (part[rows] for part in self.pairs)
        return noised(self.denoiser.process, y, c, self.generator, p_uncond)

    def remembered(self, n: int, p_uncond: float) -> list[Tensor]:
        """As many random ones of those that must not be forgotten."""
        assert self.old is not None
        some = torch.randint(len(self.old[0]), (n,), **self._where)
        y, c = (part[some] for part in self.old)
        return noised(self.denoiser.process, y, c, self.generator, p_uncond)


def steps(
    learners: list[Learner],
    epochs: int,
    batch_size: int,
    how: Optimisation,
    rows_per_epoch: int | None,
    p_uncond: float,
    prior: float | None = None,
) -> Run:
    """The steps of one denoiser, or of a stack of networks; ``prior`` weighs what is remembered."""
    first = learners[0].denoiser
    visited = len(learners[0].pairs[0]) if rows_per_epoch is None else rows_per_epoch
    counts = (("epochs", epochs), ("batch_size", batch_size), ("rows_per_epoch", visited))
    for name, value in counts:
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, not {value}")
    maskable = getattr(getattr(first, "architecture", None), "maskable", False)
    if not 0 <= p_uncond < 1 or (p_uncond > 0 and not maskable):
        raise ValueError(
            f"p_uncond must be 0, or below 1 for a network with Architecture(maskable=True), "
            f"not {p_uncond}"
        )
    parameters = [p for p in first.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the denoiser is frozen: let it learn with denoiser.requires_grad_(True)")
    per_epoch = -(-visited // batch_size)
    total = epochs * per_epoch
    weights, averaged = list[nn.Parameter](), list[Tensor]()

    def run() -> Generator[Step, None, None]:
        networks = [one.denoiser for one in learners if differentiable(one.denoiser)]
        by_hand = Gradient(networks) if networks else None
        weights.extend(parameters if by_hand is None else by_hand.flat)
        optimiser, schedule = _optimiser(weights, how, per_epoch, total)
        if how.ema is not None:
            averaged.extend(p.detach().clone() for p in weights)

        def learn(share: float, batches: list[list[Tensor]]) -> Tensor:
            """The loss of some rows; its gradient is added to that of the weights."""
            if by_hand is not None:
                losses = by_hand(share, *map(torch.stack, zip(*batches, strict=True)))
                return losses if len(learners) > 1 else losses[0]
            loss = share * noise_error(first, *batches[0])
            loss.backward()
            return loss.detach()

        number = 0
        for epoch in range(epochs):
            orders = [one.order(visited).split(batch_size) for one in learners]
            for rows in zip(*orders, strict=True):
                with one_thread(denormals=False):
                    optimiser.zero_grad()
                    own = zip(learners, rows, strict=True)
                    loss = learn(1.0, [one.batch(some, p_uncond) for one, some in own])
                    if prior is not None:
                        old = [one.remembered(len(rows[0]), p_uncond) for one in learners]
                        loss = loss + learn(prior, old)
                    optimiser.step()
                    schedule.step()
                    if how.ema is not None:
                        # The horizon is ema * total steps once that many have passed.
                        share = 1 / min(number + 1, max(1.0, how.ema * total))
                        torch._foreach_lerp_(averaged, [p.detach() for p in weights], share)
                yield Step(epoch, number, loss)
                number += 1
        _swap(weights, averaged)
        averaged.clear()

    return Run(run(), per_epoch, weights, averaged)


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
