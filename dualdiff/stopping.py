"""Training that keeps the weights of its best epoch, by pairs that it does not see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser, evaluating
from dualdiff.randomness import check_generator
from dualdiff.steps import noise_error
from dualdiff.training import finite, fit, standardised


class Training(NamedTuple):
    """What :func:`train` saw: mean losses ``[E]``, those on held-out pairs ``[E]`` (empty without
    any), and the epoch (from 0) whose weights the network has now."""

    losses: Tensor
    held_out: Tensor
    best: int


def train(
    denoiser: Denoiser,
    y: Any,
    c: Any,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    held_out: tuple[Any, Any] | None = None,
    patience: int | None = None,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Training:
    """Train ``denoiser`` in place, now; with held-out pairs keep its best epoch.

    After every epoch the noise loss of the held-out pairs is taken, always with the same steps and
    the same noise, of the averaged weights if there is an average. Held-out pairs change none of
    the random numbers of training: up to where it stops a run is that of :func:`fit`. Choose epochs
    on held-out rows of the training set, never on the rows that judge the result.

    Parameters
    ----------
    denoiser, y, c, epochs, batch_size, generator
        As in :func:`fit`.
    held_out : (y, c), optional
        Pairs in original units that training does not see.
    patience : int, optional
        Stop after so many epochs without a new best; all epochs if not given.
    progress : callable, optional
        Called with 1 after every epoch.
    **options
        As in :func:`fit`: ``optimisation``, ``prior``, ``rows_per_epoch``, ``p_uncond``.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        As :func:`fit`, for held-out pairs too; for a patience below 1 or without held-out pairs.
    FloatingPointError
        If a mean loss is not finite: training has diverged.

    Notes
    -----
    Prechelt (1998), "Early stopping, but when?".
    """
    if patience is not None and (held_out is None or patience < 1):
        given = "no held_out pairs" if held_out is None else f"patience {patience}"
        raise ValueError(f"patience must be at least 1 and needs held_out pairs, not {given}")
    check_generator(generator)
    judge = None if held_out is None else _held_out_loss(denoiser, *held_out, generator)
    options |= {"epochs": epochs, "batch_size": batch_size, "generator": generator}
    steps = fit(denoiser, y, c, **options)
    losses: list[float] = []
    seen: list[float] = []
    best, state = 0, {}
    for epoch in range(epochs):
        mean = torch.stack([next(steps).loss for _ in range(steps.per_epoch)]).mean()
        losses.append(finite(epoch, float(mean)))
        if judge is not None:
            with steps.averages():
                seen.append(finite(epoch, float(judge())))
                if seen[-1] <= min(seen):
                    best = epoch
                    state = {k: v.clone() for k, v in denoiser.state_dict().items()}
        if progress is not None:
            progress(1)
        if patience is not None and epoch - best >= patience:
            steps.close()
            break
    else:
        next(steps, None)  # ends the run: the average is in place
    if judge is None:
        return Training(torch.tensor(losses), torch.empty(0), len(losses) - 1)
    denoiser.load_state_dict(state)
    return Training(torch.tensor(losses), torch.tensor(seen), best)


def _held_out_loss(
    denoiser: Denoiser, y: Any, c: Any, generator: torch.Generator
) -> Callable[[], Tensor]:
    """The noise loss of some pairs, always at the same steps and with the same noise.

    Every row is noised so often that some thousand predictions are compared: the curve over epochs
    is then that of the network and not of the noise.
    """
    y, c = standardised(denoiser, y, c)
    repeats, device = -(-4096 // len(y)), generator.device
    # Of a copy of the generator, so that training draws what it would draw without.
    seed = torch.randint(2**62, (1,), generator=generator.clone_state(), device=device)
    fixed = torch.Generator(device).manual_seed(int(seed))
    y, c = y.repeat(repeats, 1), c.repeat(repeats, 1)
    t = torch.randint(denoiser.process.steps, (len(y),), generator=fixed, device=device)
    eps = torch.empty_like(y).normal_(generator=fixed)

    @torch.no_grad()
    def loss() -> Tensor:
        parts = zip(*(x.split(8192) for x in (y, t, c, eps)), strict=True)
        with evaluating([denoiser]):
            sums = [len(part[0]) * noise_error(denoiser, *part) for part in parts]
        return torch.stack(sums).sum() / len(y)

    return loss
