"""Training: ``fit`` is a generator of steps, so progress, curves and stopping stay outside."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dualdiff.denoisers import MLP


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


def _check_rows(denoiser: MLP, y: Tensor, c: Tensor) -> None:
    process = denoiser.process
    for name, rows, d in (("y", y, process.dy), ("c", c, process.dc)):
        if rows.ndim != 2 or rows.shape[1] != d or len(rows) == 0:
            raise ValueError(f"{name} must have shape [n >= 1, {d}], not {list(rows.shape)}")
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(f"{name} must be finite; some training rows are NaN or infinite")
    if len(y) != len(c):
        raise ValueError(f"y and c must have the same number of rows, not {len(y)} and {len(c)}")


def noise_loss(denoiser: MLP, y: Tensor, c: Tensor, generator: torch.Generator) -> Tensor:
    r"""Mean squared error of the noise prediction at random steps, a scalar.

    .. math:: E_{t, \varepsilon}\, w_t
              \lVert \varepsilon - \varepsilon_\theta(y_t, t, c) \rVert^2 / d_y

    ``y [n, dy]`` and ``c [n, dc]`` in standardised units, t uniform over {0..T-1}; the weight is
    1 for the thesis's network (Ho et al. 2020, equation 14).
    """
    t = torch.randint(denoiser.process.steps, (len(y),), generator=generator, device=y.device)
    eps = torch.empty_like(y).normal_(generator=generator)
    error = (eps - denoiser(denoiser.process.diffuse(y, t, eps), t, c)) ** 2
    return (error * denoiser.loss_weight(t)).mean()


def fit(
    denoiser: MLP,
    y: Tensor,
    c: Tensor,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    optimisation: Optimisation | None = None,
) -> Iterator[Step]:
    """Train ``denoiser`` in place, yielding every step; fine-tuning is the same call.

    The data are tensors on the denoiser's device and are indexed, never looped over. The last,
    smaller batch of an epoch is used too. Stopping early leaves the weights as they are then
    (without the average).

    Parameters
    ----------
    denoiser : MLP
    y, c : Tensor [n, dy], [n, dc]
        Training pairs in original units.
    epochs, batch_size : int
    generator : torch.Generator
        On the data's device; source of the order, the steps and the noise.
    optimisation : Optimisation
        Default: Adam as in the thesis.

    Yields
    ------
    Step
    """
    _check_rows(denoiser, y, c)
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    how = Optimisation() if optimisation is None else optimisation
    y, c = denoiser.process.encode_y(y), denoiser.process.encode_c(c)
    parameters = list(denoiser.parameters())
    kind = torch.optim.Adam if how.optimiser == "adam" else torch.optim.AdamW
    optimiser = kind(parameters, lr=how.learning_rate, fused=True)
    total = epochs * -(-len(y) // batch_size)
    if how.decay == "step":
        schedule: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.StepLR(
            optimiser, 10 * (total // epochs), 0.9
        )
    else:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    average = None if how.ema is None else [p.detach().clone() for p in parameters]
    number = 0
    for epoch in range(epochs):
        order = torch.randperm(len(y), generator=generator, device=y.device)
        for rows in order.split(batch_size):
            optimiser.zero_grad(set_to_none=True)
            loss = noise_loss(denoiser, y[rows], c[rows], generator)
            loss.backward()
            optimiser.step()
            schedule.step()
            if average is not None and how.ema is not None:
                # The horizon is ema * total steps once that many have passed, shorter before.
                share = 1 / min(number + 1, max(1.0, how.ema * total))
                torch._foreach_lerp_(average, [p.detach() for p in parameters], share)
            yield Step(epoch, number, loss.detach())
            number += 1
    if average is not None:
        with torch.no_grad():
            for parameter, mean in zip(parameters, average, strict=True):
                parameter.copy_(mean)


def epoch_losses(steps: Iterator[Step]) -> Iterator[float]:
    """Fold steps into the mean loss of every epoch, as the thesis plots it.

    Raises
    ------
    FloatingPointError
        If a mean loss is not finite: training has diverged.
    """
    epoch = 0
    losses: list[Tensor] = []
    for step in steps:
        if step.epoch != epoch:
            yield _mean(losses, epoch)
            epoch, losses = step.epoch, []
        losses.append(step.loss)
    if losses:
        yield _mean(losses, epoch)


def _mean(losses: list[Tensor], epoch: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise FloatingPointError(f"training diverged: the loss of epoch {epoch + 1} is {mean}")
    return mean


def clone(denoiser: MLP) -> MLP:
    """An independent copy with the same weights, to fine-tune without touching the original."""
    return deepcopy(denoiser)
