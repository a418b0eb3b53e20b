"""Reverse samplers: from noise to samples, one pure step at a time."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from dualdiff.chunks import Piece, Start, check_request, check_start, chunked, in_threads
from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser, Predict, evaluating
from dualdiff.process import Process, transition


class State(NamedTuple):
    """Where a reverse chain stands.

    ``y`` is the batch in standardised units, ``[n, dy]``; ``t`` the step it has reached (-1:
    clean); ``memory`` what a multistep sampler keeps of its previous step.
    """

    y: Tensor
    t: int
    memory: Any = None


Noise = Callable[[], Tensor]


@dataclass(frozen=True)
class Sampler:
    """A reverse sampler: a sequence of timesteps and a step between two of them.

    Parameters
    ----------
    steps : int, optional
        Number of network calls; all T of the process if not given. Fewer are spread evenly over
        the timesteps, both ends included.
    """

    steps: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")

    def timesteps(self, process: Process) -> list[int]:
        """The steps visited, from T - 1 down to 0."""
        count = process.steps if self.steps is None else self.steps
        if count > process.steps:
            raise ValueError(
                f"steps must be at most the {process.steps} timesteps of the process, not {count}"
            )
        if count == 1:
            return [process.steps - 1]
        return [round(i * (process.steps - 1) / (count - 1)) for i in reversed(range(count))]

    @property
    def deterministic(self) -> bool:
        """Whether the samples are a function of the start: no step adds noise."""
        return False

    @abstractmethod
    def step(
        self, process: Process, predict: Predict, state: State, following: int, noise: Noise
    ) -> State:
        """One pure step from ``state.t`` to ``following`` (-1: clean data).

        ``predict(y, t)`` is a denoiser bound to its conditions; ``noise()`` gives fresh standard
        normal numbers of the shape of ``state.y``.
        """


@dataclass(frozen=True)
class DDPM(Sampler):
    r"""Ancestral sampling, by default exactly as in the thesis.

    .. math:: y_{t-1} = \frac{1}{\sqrt{1-\beta_t}}\left(y_t -
              \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\varepsilon\right) + \sigma_t z

    with no noise at the last step. Over skipped steps
    :math:`\beta_t = 1 - \bar\alpha_t / \bar\alpha_{t'}` for the next step visited :math:`t'`.

    Parameters
    ----------
    variance : {"beta", "posterior"}
        :math:`\sigma_t^2 = \beta_t` (the thesis), or the posterior's
        :math:`\beta_t (1-\bar\alpha_{t'}) / (1-\bar\alpha_t)`.

    Notes
    -----
    Ho, Jain and Abbeel (2020), algorithm 2 and section 3.2.
    """

    variance: Literal["beta", "posterior"] = "beta"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in ("beta", "posterior"):
            raise ValueError(f"variance must be 'beta' or 'posterior', not {self.variance!r}")

    def step(
        self, process: Process, predict: Predict, state: State, following: int, noise: Noise
    ) -> State:
        step = transition(process, state.t, following)
        y = step.mean(state.y, predict(state.y, state.t))
        if following >= 0:
            abar, abar_next = process.alpha_bar_at(state.t), process.alpha_bar_at(following)
            posterior = (1 - abar_next) / (1 - abar) if self.variance == "posterior" else 1.0
            y.add_(noise(), alpha=math.sqrt(step.beta * posterior))
        return State(y, following)


@dataclass(frozen=True)
class DDIM(Sampler):
    r"""Denoising diffusion implicit models; deterministic at ``eta`` = 0.

    .. math:: y_{t'} = \sqrt{\bar\alpha_{t'}}\, \hat y_0 +
              \sqrt{1 - \bar\alpha_{t'} - \sigma^2}\, \varepsilon + \sigma z, \qquad
              \sigma^2 = \eta^2 \frac{1-\bar\alpha_{t'}}{1-\bar\alpha_t}
              \left(1 - \frac{\bar\alpha_t}{\bar\alpha_{t'}}\right)

    Parameters
    ----------
    eta : float
        0 deterministic, 1 ancestral with the posterior variance.

    Notes
    -----
    Song, Meng and Ermon (2021), equations 12 and 16.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, not {self.eta}")

    @property
    def deterministic(self) -> bool:
        return self.eta == 0

    def step(
        self, process: Process, predict: Predict, state: State, following: int, noise: Noise
    ) -> State:
        abar, abar_next = process.alpha_bar_at(state.t), process.alpha_bar_at(following)
        eps = predict(state.y, state.t)
        ratio = math.sqrt(abar_next / abar)
        variance = self.eta**2 * (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
        direction = math.sqrt(max(1 - abar_next - variance, 0.0)) - ratio * math.sqrt(1 - abar)
        y = (state.y * ratio).add_(eps, alpha=direction)
        if variance > 0:
            y.add_(noise(), alpha=math.sqrt(variance))
        return State(y, following)


class Multistep(NamedTuple):
    """What DPM-Solver++ keeps of its last step: the clean prediction and its log(alpha/sigma)."""

    clean: Tensor
    half_log_snr: float


@dataclass(frozen=True)
class DPMSolverPP(Sampler):
    r"""DPM-Solver++ (2M): deterministic, second order, one network call per step.

    With :math:`\lambda = \log(\sqrt{\bar\alpha}/\sigma)`, :math:`h` the step in it and
    :math:`\hat y_0` the clean prediction,

    .. math:: y_{t'} = \frac{\sigma_{t'}}{\sigma_t} y_t -
              \sqrt{\bar\alpha_{t'}} (e^{-h} - 1) D, \qquad
              D = \hat y_0 + \frac{h}{2 h_\mathrm{prev}} (\hat y_0 - \hat y_0^\mathrm{prev})

    First order where there is no previous step, and into the clean data, where it returns
    :math:`\hat y_0`.

    Notes
    -----
    Lu et al. (2022), "DPM-Solver++", algorithm 2.
    """

    @property
    def deterministic(self) -> bool:
        return True

    def step(
        self, process: Process, predict: Predict, state: State, following: int, noise: Noise
    ) -> State:
        abar, abar_next = process.alpha_bar_at(state.t), process.alpha_bar_at(following)
        eps = predict(state.y, state.t)
        clean = (state.y - math.sqrt(1 - abar) * eps) / math.sqrt(abar)
        if following < 0:
            return State(clean, following)
        here = 0.5 * math.log(abar / (1 - abar))
        h = 0.5 * math.log(abar_next / (1 - abar_next)) - here
        direction = clean
        if state.memory is not None:
            previous: Multistep = state.memory
            slope = 0.5 * h / (here - previous.half_log_snr)
            direction = clean + slope * (clean - previous.clean)
        y = math.sqrt((1 - abar_next) / (1 - abar)) * state.y
        y.add_(direction, alpha=-math.sqrt(abar_next) * math.expm1(-h))
        return State(y, following, Multistep(clean, here))


SAMPLERS: dict[str, type[Sampler]] = {"ddpm": DDPM, "ddim": DDIM, "dpm++": DPMSolverPP}


class CollapseWarning(UserWarning):
    """Samples will be much narrower, or wider, than what the weights describe."""


def _check_total(denoiser: Denoiser, sampler: Sampler) -> None:
    r"""Warn of a sum of noises whose weights do not add up to one under a deterministic sampler.

    Where all members predict :math:`\varepsilon` for a unit Gaussian the flow of total weight B
    multiplies the start by :math:`\bar\alpha_T^{(B-1)/2}`, which is no sampling of anything;
    fresh noise at every step holds the variance at :math:`1/(2B-1)`.
    """
    if not (sampler.deterministic and isinstance(denoiser, Weighted) and denoiser.plain):
        return
    total = denoiser.total
    worst = float(total[(total - 1).abs().argmax()])
    if abs(worst - 1) > 1e-6:
        warnings.warn(
            f"the weights add up to {worst:g} and {sampler} adds no noise, so the samples "
            f"collapse or spread (weights that add up to one do not); use the default sampler, "
            f"DDPM()",
            CollapseWarning,
            stacklevel=4,  # above the caller of this and the wrapper that `no_grad` makes of it
        )


@torch.no_grad()
def reverse(
    denoiser: Denoiser,
    c: Tensor,
    sampler: Sampler,
    noise: Noise,
    *,
    start_std: float = 1.0,
    start: Start | None = None,
) -> Iterator[State]:
    """Run one batch backwards, yielding the start and the state after every step.

    Conditions ``c [n, dc]`` and states are in standardised units. ``noise()`` gives ``[n, dy]``
    fresh standard normal numbers; the start is ``y_T ~ N(0, start_std^2 I)``, or what the forward
    process makes of given targets at a given step.
    """
    process = denoiser.process
    predict = denoiser.bind(c)
    steps = sampler.timesteps(process)
    if start is None:
        state = State(noise() * start_std, steps[0])
    else:
        y, first = start
        steps = [first, *(t for t in steps if t < first)]
        state = State(process.diffuse(y, first, noise()), first)
    yield state
    for following in [*steps[1:], -1]:
        state = sampler.step(process, predict, state, following, noise)
        yield state


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    c: Tensor,
    generator: torch.Generator,
    *,
    sampler: Sampler | None = None,
    draws: int = 1,
    start_std: float = 1.0,
    start: Any = None,
    from_step: int | None = None,
    chunk: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Draw samples for every condition.

    Conditions may be a tensor, an array, a data frame or lists; samples are float32, made where the
    denoiser is and in its evaluation mode. The work runs in chunks small enough for the cache, one
    per thread at a time; each block of samples has a noise stream of its own, so neither the chunk
    size nor the number of threads changes a sample (up to the rounding of matrix products).

    Parameters
    ----------
    denoiser : Denoiser
    c : Tensor [n, dc]
        Conditions in original units.
    generator : torch.Generator
        Source of all randomness.
    sampler : Sampler
        Default: :class:`DDPM` over all steps, as in the thesis.
    draws : int
        Samples per condition.
    start_std : float
        Spread of the start; 1 in the thesis.
    start : Tensor [n, dy] or [n, draws, dy], optional
        Targets in original units from which to set out, instead of pure noise: they are noised up
        to ``from_step`` and denoised again. So a guess, or samples of another model, are edited
        (SDEdit), and samples are restarted.
    from_step : int, optional
        The timestep up to which ``start`` is noised: the higher, the more is forgotten. Default:
        T - 1, where nearly all is.
    chunk : int, optional
        Samples per chunk, rounded up to whole blocks of 1,024. Default: on a CPU at
        most 2,048 with networks and 8,192 without, evenly for the threads, or a part of a block
        where there are few.
    progress : callable, optional
        Called with the number of samples finished after each chunk, for a progress bar.

    Returns
    -------
    Tensor [n, draws, dy]
        Original units.

    Raises
    ------
    ValueError
        For shapes and values out of range.
    FloatingPointError
        If a sample is not finite.

    Warns
    -----
    CollapseWarning
        If a deterministic sampler meets weights that do not add up to one.

    Notes
    -----
    Meng et al. (2022), "SDEdit", algorithm 1; Xu et al. (2023), "Restart sampling".
    """
    c = check_request([denoiser], c, draws, chunk, start_std)
    sampler = DDPM() if sampler is None else sampler
    given = check_start(denoiser.process, start, from_step, len(c), draws, start_std)
    _check_total(denoiser, sampler)
    size = (len(c) * draws, denoiser.process.dy)
    out = torch.empty(size, device=c.device, dtype=torch.float32)

    def work(piece: Piece) -> int:
        place, condition, noise = piece
        begin = None if given is None else given._replace(y=given.y[place].to(c.device))
        for state in reverse(denoiser, condition, sampler, noise, start_std=start_std, start=begin):
            last = state
        out[place] = denoiser.process.decode_y(last.y)
        return place.stop - place.start

    pieces = chunked([denoiser], c, generator, draws, chunk, parts=None)
    with evaluating([denoiser]):
        for done in in_threads(work, pieces, c.device):
            if progress is not None:
                progress(done)
    if not bool(torch.isfinite(out).all()):
        raise FloatingPointError(
            "some samples are not finite: the denoiser diverges (weights too large, or a network "
            "that was not trained?)"
        )
    return out.reshape(len(c), draws, -1)


@torch.no_grad()
def trajectory(
    denoiser: Denoiser,
    c: Tensor,
    generator: torch.Generator,
    *,
    sampler: Sampler | None = None,
    start_std: float = 1.0,
) -> tuple[list[int], Tensor]:
    """One sample per condition with the whole way to it, for pictures.

    Returns
    -------
    timesteps : list of S + 1 ints
        From T - 1 to -1 (clean).
    states : Tensor [S + 1, n, dy]
        Standardised units.
    """
    c = check_request([denoiser], c, 1, 1, start_std)
    sampler = DDPM() if sampler is None else sampler
    _check_total(denoiser, sampler)
    pieces = []
    with evaluating([denoiser]):
        for _, condition, noise in chunked([denoiser], c, generator, 1, None):
            states = list(reverse(denoiser, condition, sampler, noise, start_std=start_std))
            pieces.append(torch.stack([state.y for state in states]))
    return [state.t for state in states], torch.cat(pieces, dim=1)
