"""Training: ``fit`` is a generator of steps, so progress, curves and stopping stay outside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser
from dualdiff.gradients import differentiable
from dualdiff.networks import MLP
from dualdiff.process import Process, floating
from dualdiff.randomness import check_generator
from dualdiff.steps import Learner, Optimisation, Run, Step, noise_error, noised, steps


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
    return noise_error(denoiser, *noised(denoiser.process, y, c, generator, p_uncond))


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
    pairs = standardised(denoiser, y, c)
    old = None if prior is None else standardised(denoiser, prior.y, prior.c)
    how = Optimisation() if optimisation is None else optimisation
    one = [Learner(denoiser, pairs, generator, old)]
    return steps(
        one,
        epochs,
        batch_size,
        how,
        rows_per_epoch,
        p_uncond,
        prior.weight if prior is not None else None,
    )


def fit_together(
    networks: Sequence[MLP],
    pairs: Sequence[tuple[Any, Any]],
    *,
    epochs: int,
    batch_size: int,
    generators: Sequence[torch.Generator],
    optimisation: Optimisation | None = None,
    rows_per_epoch: int | None = None,
    p_uncond: float = 0.0,
) -> Run:
    """Train several networks of one shape as a stack, in a fraction of the time of one by one.

    Small batches leave most of a processor waiting for the next operation; a stack shares what each
    operation costs. Every network has pairs and a generator of its own, and becomes what
    :func:`fit` makes of it, whatever stands beside it: to the last bit where layers are a multiple
    of 16 wide, to rounding elsewhere.

    Parameters
    ----------
    networks : sequence of MLP, K of them
        As they were built, on one device, of one architecture and number of timesteps.
    pairs : sequence of (y, c)
        Training pairs of each, in original units; with ``rows_per_epoch`` sets may differ in size.
    generators : sequence of torch.Generator
        One for each.
    epochs, batch_size, optimisation, rows_per_epoch, p_uncond
        As in :func:`fit`, the same for all.

    Yields
    ------
    Step
        With a loss ``[K]``.

    Raises
    ------
    ValueError
        At the call, as :func:`fit`; and for networks that cannot share a stack.
    """
    networks, pairs, generators = [*networks], [*pairs], [*generators]
    if not len(networks) == len(pairs) == len(generators) > 0:
        raise ValueError(
            "networks, pairs and generators must be as many, and at least one, not "
            f"{len(networks)}, {len(pairs)} and {len(generators)}"
        )
    for generator in generators:
        check_generator(generator)
    for name, things in (("networks", networks), ("generators", generators)):
        if len({*map(id, things)}) < len(things):
            raise ValueError(f"one of the {name} is there twice: each learns with one of its own")
    for number, network in enumerate(networks):
        if not differentiable(network):
            raise ValueError(
                f"networks[{number}] must be an MLP as it was built, all of it trainable: train "
                "others one by one, with fit"
            )
    shapes = {
        (n.architecture, n.process.steps, n.process.dy, n.process.dc, n.features.device)
        for n in networks
    }
    if len(shapes) > 1:
        raise ValueError(
            "networks must have one architecture, number of timesteps, dy, dc and device, not "
            f"{len(shapes)} different ones"
        )
    rows = [standardised(network, *own) for network, own in zip(networks, pairs, strict=True)]
    sizes = {len(y) for y, _ in rows}
    if rows_per_epoch is None and len(sizes) > 1:
        raise ValueError(
            f"pairs must be equally many without rows_per_epoch, not {min(sizes)} to {max(sizes)}"
        )
    learners = [Learner(*own) for own in zip(networks, rows, generators, strict=True)]
    how = Optimisation() if optimisation is None else optimisation
    return steps(learners, epochs, batch_size, how, rows_per_epoch, p_uncond)


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
