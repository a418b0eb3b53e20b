"""The noise schedule and the units: what two denoisers must share to be composed."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

FLAT = 0.01


def floating(name: str, values: Any) -> Tensor:
    """``values`` as a tensor of floating-point numbers: the one place where types are settled.

    Tensors, arrays, data frames and lists of numbers. Numbers of 32 and 64 bits in floating point
    stay what they are, all others (integers, half precision, booleans) become float32.

    Raises
    ------
    ValueError
        For what is not real numbers in a rectangle, also masked ones; ``name`` says in the message
        what it was.
    """
    if not isinstance(values, Tensor):
        if _masked(values):
            raise ValueError(f"{name} must be numbers; some are masked")
        try:
            array = np.asarray(values)
            if array.dtype.kind == "O":  # columns of several types, or with missing values
                array = array.astype(np.float64)
        except (TypeError, ValueError, RuntimeError) as error:  # the last: tensors that need grad
            raise ValueError(f"{name} must be numbers: {error}") from None
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be real numbers, not {array.dtype}")
        long = array.dtype.kind == "f" and array.dtype.itemsize > 4
        return torch.from_numpy(array.astype(np.float64 if long else np.float32))
    if values.is_complex():
        raise ValueError(f"{name} must be real numbers, not {values.dtype}")
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _masked(values: Any) -> bool:
    """Whether numpy would show what a mask hides."""
    if isinstance(values, list | tuple):
        return any(map(_masked, values))
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def spread(offsets: Tensor) -> Tensor:
    """Standard deviation per dimension of ``offsets [n, dy]``, at least a hundredth of the largest.

    In the frame of its object a target may not vary at all in some direction (the height above a
    table), and no unit can be made of zero.
    """
    std = offsets.std(0)
    return std.clamp(min=FLAT * float(std.max()))


@dataclass(frozen=True, eq=False)
class Process:
    r"""A variance-preserving forward process in standardised units.

    .. math:: y_t = \sqrt{\bar\alpha_t}\, y + \sqrt{1-\bar\alpha_t}\, \varepsilon,
              \qquad \varepsilon \sim N(0, I), \quad t = 0, \dots, T-1

    with :math:`y` standardised as ``(y - y_mean) / y_std``. The condition is standardised
    too and never noised. Noise predictions of two models can be added only if they are in the
    same units, so a composition demands equal processes.

    Parameters
    ----------
    alpha_bar : Tensor [T]
        Cumulative products of ``1 - beta``, strictly decreasing inside (0, 1); kept in float64.
    y_mean, y_std : Tensor [dy]
        Moments that standardise the target (original units).
    c_mean, c_std : Tensor [dc]
        Moments that standardise the condition (original units).

    Raises
    ------
    ValueError
        If a tensor is empty, not finite or out of range.

    Notes
    -----
    Ho, Jain and Abbeel (2020), equation 4.
    """

    alpha_bar: Tensor
    y_mean: Tensor
    y_std: Tensor
    c_mean: Tensor
    c_std: Tensor

    def __post_init__(self) -> None:
        for name in ("alpha_bar", "y_mean", "y_std", "c_mean", "c_std"):
            object.__setattr__(self, name, floating(name, getattr(self, name)))
        object.__setattr__(self, "alpha_bar", self.alpha_bar.double())
        schedule = self.alpha_bar
        if schedule.ndim != 1 or len(schedule) == 0:
            raise ValueError(
                f"alpha_bar must be a vector of T >= 1 values, not shape {tuple(schedule.shape)}"
            )
        decreasing = bool((schedule[1:] < schedule[:-1]).all())
        if not (decreasing and bool((schedule > 0).all()) and bool((schedule < 1).all())):
            raise ValueError(
                "alpha_bar must decrease strictly from t = 0 on and stay inside (0, 1); betas go "
                "through Process.from_alphas(torch.cumprod(1 - beta, 0), dy=..., dc=...)"
            )
        for name in ("y_mean", "y_std", "c_mean", "c_std"):
            value = getattr(self, name)
            if value.ndim != 1 or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be a vector of finite numbers, not {value}")
            if name.endswith("std") and not bool((value > 0).all()):
                raise ValueError(
                    f"{name} must be positive in every dimension, not {value.tolist()}"
                )
        if self.y_mean.shape != self.y_std.shape or self.c_mean.shape != self.c_std.shape:
            raise ValueError("mean and std must have one entry per dimension each")

    @classmethod
    def linear(
        cls, steps: int = 100, first: float = 1e-3, last: float = 0.2, *, dy: int = 3, dc: int = 3
    ) -> Process:
        """Betas rising linearly from ``first`` to ``last`` (the schedule of recipe ``plain``)."""
        if steps < 1 or not 0 < first <= last < 1:
            raise ValueError(
                f"linear schedule needs steps >= 1 and 0 < first <= last < 1, "
                f"not steps={steps}, first={first}, last={last}"
            )
        beta = torch.linspace(first, last, steps, dtype=torch.float64)
        return cls._unit(torch.cumprod(1 - beta, 0), dy, dc)

    @classmethod
    def log_snr(
        cls, steps: int = 100, high: float = 12.0, low: float = -8.0, *, dy: int = 3, dc: int = 3
    ) -> Process:
        r"""Log signal-to-noise ratio :math:`\lambda_t` falling linearly, :math:`\bar\alpha_t =
        \mathrm{sigmoid}(\lambda_t)`.

        Reaches much lower noise than the linear betas, which is what sharp edges need
        (Kingma et al. 2021, section 3.3; Karras et al. 2022, section 5).
        """
        if steps < 2 or not low < high:
            raise ValueError(
                f"log_snr schedule needs steps >= 2 and low < high, "
                f"not steps={steps}, low={low}, high={high}"
            )
        return cls._unit(
            torch.sigmoid(torch.linspace(high, low, steps, dtype=torch.float64)), dy, dc
        )

    @classmethod
    def from_alphas(cls, alphas_cumprod: Any, *, dy: int, dc: int = 0) -> Process:
        r"""The schedule of a model trained elsewhere, in standardised units.

        .. math:: \bar\alpha_t = \prod_{s \le t} (1 - \beta_s), \qquad t = 0, \dots, T - 1

        Parameters
        ----------
        alphas_cumprod : Tensor [T]
            From t = 0, nearly clean; of its betas ``torch.cumprod(1 - beta, 0)``.
        dy, dc : int
            Dimensions of target and condition. Their means are 0 and their scales 1; others are set
            by ``dataclasses.replace(process, y_mean=..., y_std=..., c_mean=..., c_std=...)``.

        Raises
        ------
        ValueError
            If they do not decrease strictly inside (0, 1), as betas do not.
        """
        return cls._unit(floating("alphas_cumprod", alphas_cumprod), dy, dc)

    @classmethod
    def _unit(cls, alpha_bar: Tensor, dy: int, dc: int) -> Process:
        y, c = torch.zeros(dy, dtype=torch.float32), torch.zeros(dc, dtype=torch.float32)
        return cls(alpha_bar, y, y + 1, c, c + 1)

    def standardised(self, y: Tensor, c: Tensor, *, relative: bool = False) -> Process:
        """The same schedule in the units of training rows ``y [n, dy]``, ``c [n, dc]``.

        With ``relative`` the target's scale is that of ``y - c``: the units of a denoiser that
        works in the frame of the object, where the spread of the conditions is not part of the
        data's spread; see :func:`spread`. That needs dy = dc.
        """
        y, c = self.rows("y", y), self.rows("c", c)
        if relative and self.dy != self.dc:
            raise ValueError(f"the scale of y - c needs dy = dc, not {self.dy} and {self.dc}")
        if len(y) < 2 or len(y) != len(c):
            raise ValueError(
                f"standardising needs at least two rows, as many y as c, not {len(y)}, {len(c)}"
            )
        scale = spread(y - c) if relative else y.std(0)
        spread_c = c.std(0) if self.dc else c.mean(0)  # of no conditions torch warns
        return replace(self, y_mean=y.mean(0), y_std=scale, c_mean=c.mean(0), c_std=spread_c)

    # --- the schedule ---------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """The number of timesteps T."""
        return len(self.alpha_bar)

    @property
    def beta(self) -> Tensor:
        r""":math:`\beta_t = 1 - \bar\alpha_t / \bar\alpha_{t-1}`; :math:`\bar\alpha_{-1} = 1`."""
        previous = torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])
        return 1 - self.alpha_bar / previous

    def timestep(self, t: Any) -> int | Tensor:
        """A timestep as an int, or several as an integer tensor ``[n]``.

        Raises
        ------
        ValueError
            If one lies outside 0 .. T - 1, where an index would count from the other end.
        """
        steps = self.steps
        if isinstance(t, Tensor) and t.ndim:
            whole = not (t.is_floating_point() or t.is_complex() or t.dtype == torch.bool)
            if not whole or bool(((t < 0) | (t >= steps)).any()):
                raise ValueError(f"t must be integers from 0 to {steps - 1}, not {t}")
            return t.long()
        try:
            number = operator.index(t)
        except TypeError:
            number = -1
        if not 0 <= number < steps:
            raise ValueError(f"t must be an integer from 0 to {steps - 1}, not {t!r}")
        return number

    def alpha_bar_at(self, t: int) -> float:
        """:math:`\\bar\\alpha_t` as a number; ``t = -1`` is the clean data, where it is 1."""
        return 1.0 if t < 0 else self._alpha_bar[t]

    @cached_property
    def _alpha_bar(self) -> list[float]:
        values: list[float] = self.alpha_bar.tolist()
        return values

    @overload
    def signal(self, t: int) -> float: ...
    @overload
    def signal(self, t: Tensor) -> Tensor: ...
    def signal(self, t: int | Tensor) -> float | Tensor:
        r""":math:`\sqrt{\bar\alpha_t}`: a number for one step, ``[n, 1]`` for a batch of steps.

        Raises
        ------
        ValueError
            As :meth:`timestep`.
        """
        if isinstance(t, Tensor):
            return self._alpha_bar_of(t).sqrt().float().unsqueeze(-1)
        return math.sqrt(self._alpha_bar_of(t))

    @overload
    def noise(self, t: int) -> float: ...
    @overload
    def noise(self, t: Tensor) -> Tensor: ...
    def noise(self, t: int | Tensor) -> float | Tensor:
        r""":math:`\sqrt{1-\bar\alpha_t}`: a number for one step, ``[n, 1]`` for a batch.

        Raises
        ------
        ValueError
            As :meth:`timestep`.
        """
        if isinstance(t, Tensor):
            return (1 - self._alpha_bar_of(t)).sqrt().float().unsqueeze(-1)
        return math.sqrt(1 - self._alpha_bar_of(t))

    @overload
    def _alpha_bar_of(self, t: int) -> float: ...
    @overload
    def _alpha_bar_of(self, t: Tensor) -> Tensor: ...
    def _alpha_bar_of(self, t: int | Tensor) -> float | Tensor:
        found = self.timestep(t)
        if isinstance(t, Tensor):  # one of a single number stays a tensor
            return self.alpha_bar.to(t.device)[found]
        return self._alpha_bar[found]

    def diffuse(self, y: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Forward process: the noised ``y_t [n, dy]`` of standardised ``y`` with noise ``eps``.

        Raises
        ------
        ValueError
            As :meth:`timestep`.
        """
        return self.signal(t) * y + self.noise(t) * eps

    # --- the units ------------------------------------------------------------------------

    @property
    def dy(self) -> int:
        """Dimension of the target."""
        return len(self.y_mean)

    @property
    def dc(self) -> int:
        """Dimension of the condition."""
        return len(self.c_mean)

    def rows(self, name: Literal["y", "c"], values: Any) -> Tensor:
        """Targets or conditions as numbers ``[..., dy]`` or ``[..., dc]``.

        Raises
        ------
        ValueError
            If they are not numbers (see :func:`floating`) or of another dimension.
        """
        d = self.dy if name == "y" else self.dc
        found = floating(name, values)
        if found.ndim == 0 or found.shape[-1] != d:
            raise ValueError(f"{name} must have shape [..., {d}], not {list(found.shape)}")
        return found

    def encode_y(self, y: Tensor) -> Tensor:
        """Target in original units ``[..., dy]`` to standardised units."""
        y = self.rows("y", y)
        return (y - self.y_mean.to(y)) / self.y_std.to(y)

    def decode_y(self, y: Tensor) -> Tensor:
        """Target in standardised units ``[..., dy]`` to original units."""
        y = self.rows("y", y)
        return y * self.y_std.to(y) + self.y_mean.to(y)

    def encode_c(self, c: Tensor) -> Tensor:
        """Condition in original units ``[..., dc]`` to standardised units."""
        c = self.rows("c", c)
        return (c - self.c_mean.to(c)) / self.c_std.to(c)

    def decode_c(self, c: Tensor) -> Tensor:
        """Condition in standardised units ``[..., dc]`` to original units."""
        c = self.rows("c", c)
        return c * self.c_std.to(c) + self.c_mean.to(c)

    # --- identity -------------------------------------------------------------------------

    def difference(self, other: Process) -> str | None:
        """What keeps two processes from being composed, in words; None if they are the same."""
        if self.steps != other.steps:
            return f"they have {self.steps} and {other.steps} timesteps"
        for name, label in (
            ("alpha_bar", "noise schedules (alpha_bar)"),
            ("y_mean", "means of the target (y_mean)"),
            ("y_std", "scales of the target (y_std)"),
            ("c_mean", "means of the condition (c_mean)"),
            ("c_std", "scales of the condition (c_std)"),
        ):
            mine, theirs = getattr(self, name), getattr(other, name)
            if name != "alpha_bar":  # units, which may be known to more digits on one side
                mine, theirs = mine.float(), theirs.float()
            if mine.shape != theirs.shape or not torch.equal(mine, theirs.to(mine)):
                return f"their {label} differ"
        return None

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Process) and self.difference(other) is None

    __hash__ = None  # type: ignore[assignment]


class Transition(NamedTuple):
    r"""The Gaussian step between two timesteps, :math:`t` and the next one visited :math:`t'`.

    Forward :math:`N(y_t; \sqrt{1-\beta}\, y_{t'}, \beta I)`, and backwards the ancestral mean
    :math:`(y_t - \beta\, \varepsilon / \sigma_t) / \sqrt{1-\beta}`.
    """

    beta: float
    scale: float
    shift: float

    def mean(self, y: Tensor, eps: Tensor) -> Tensor:
        """Mean of the ancestral step from ``y [n, dy]`` with noise prediction ``eps``."""
        return (y * self.scale).sub_(eps, alpha=self.shift)


def transition(process: Process, t: int, following: int) -> Transition:
    """The step from ``t`` to ``following`` (-1: clean data)."""
    abar = process.alpha_bar_at(t)
    beta = 1 - abar / process.alpha_bar_at(following)
    scale = 1 / math.sqrt(1 - beta)
    return Transition(beta, scale, scale * beta / math.sqrt(1 - abar))
