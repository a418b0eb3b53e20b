"""Exact members of one's own: from a density, from draws, from several laws; a region cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dualdiff.compose import common_process
from dualdiff.exact import LOG_SQRT_2PI, Exact
from dualdiff.process import Process, floating
from dualdiff.regions import Box, Region, count, point

LogDensity = Callable[[Tensor], Tensor]
Grid = tuple[Sequence[float], Sequence[float], int | Sequence[int]]
AT_ONCE = 2**22  # pairs of a sample and a node in memory


class Points(Exact):
    r"""Weighted points in the frame of the condition, noised.

    .. math:: p_t(x) = \sum_k w_k N(x;\, \sqrt{\bar\alpha_t}\, m_k,\, \sigma_t^2 I), \qquad
              \varepsilon = \Bigl(x - \sqrt{\bar\alpha_t} \textstyle\sum_k \pi_k(x)\, m_k\Bigr) /
              \sigma_t

    with the shares :math:`\pi_k` of the points at x. It costs samples times points, in pieces that
    fit the memory.

    Parameters
    ----------
    process : Process
    points : Tensor [K, dy]
        Offsets from the condition, original units.
    log_weights : Tensor [K]
        Normalised here; -inf leaves a point out.

    Raises
    ------
    ValueError
        For other shapes, points or weights that are not finite, and weights that are all zero.
    """

    def __init__(self, process: Process, points: Any, log_weights: Any) -> None:
        super().__init__(process)
        points = floating("points", points).double()
        logs = floating("log_weights", log_weights).double()
        shape = [len(logs), process.dy]
        if logs.ndim != 1 or list(points.shape) != shape:
            raise ValueError(f"points must be {shape}, one for each weight, not {points.shape}")
        held, sound = logs > -math.inf, points.isfinite().all() & (logs < math.inf).all()
        if not bool(held.any() & sound):
            raise ValueError("points must be finite, log_weights finite or -inf, and not all -inf")
        self.points = points[held] / self.scale
        self.log_weights = logs[held].log_softmax(0)

    def _logs(self, x: Tensor, signal: Tensor, noise: Tensor) -> Iterator[Tensor]:
        """Log weight times density of every point at some rows after others, ``[rows, K]``."""
        rows = max(1, AT_ONCE // len(self.points))
        sizes = (v.expand(len(x), -1).split(rows) for v in (x, signal, noise))
        for some, s, n in zip(*sizes, strict=True):
            logs = self.log_weights.to(x) - x.shape[1] * (LOG_SQRT_2PI + n.log())
            for k, points in enumerate(self.points.to(x).T):
                logs = logs - ((some[:, k : k + 1] - s * points) / n) ** 2 / 2
            yield logs

    def _eps(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        means = [logs.softmax(1) @ self.points.to(x) for logs in self._logs(x, signal, noise)]
        return (x - signal * torch.cat(means)) / noise

    def _log_density(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        return torch.cat([logs.logsumexp(1) for logs in self._logs(x, signal, noise)])


def by_log_density(process: Process, log_p: LogDensity, grid: Grid) -> Points:
    r"""The exact denoiser of a density that one can write down, by summing over a grid.

    The law is that of the middles of the grid's cells, :class:`Points` with weights
    :math:`\propto p`. With cells as wide as the smallest noise (in units of y,
    :math:`\sigma_0 / \sqrt{\bar\alpha_0}` times ``y_std``) a smooth density is met to
    :math:`2 e^{-2 \pi^2} < 10^{-8}` of its height; wider ones are refused, since the noise would
    show the grid. Beside a jump the density errs by the share of a cell: put jumps on borders of
    cells and take cells of a quarter of the noise, which is right to a percent.

    Parameters
    ----------
    process : Process
        Of one to three dimensions.
    log_p : callable
        Offsets from the condition ``[m, dy]``, float64, original units, to the log density ``[m]``
        up to a constant; -inf where there is nothing.
    grid : (low, high, points)
        Corners and cells per axis, one number for all axes or one each. What lies outside the
        corners is no part of the law.

    Raises
    ------
    ValueError
        For a grid of other dimensions, too coarse (with the number it needs) or of more than
        2^22 cells, and for a ``log_p`` that gives something else.
    """
    d = process.dy
    if d > 3:
        raise ValueError(f"a grid needs a process of 1 to 3 dimensions, not {d}")
    box = Box(point("low", grid[0], d), point("high", grid[1], d))
    low, high, cells = (
        torch.as_tensor(v, dtype=torch.float64).expand(d) for v in (box.low, box.high, grid[2])
    )
    finest = process.noise(0) / process.signal(0) * process.y_std.double()
    needed = ((high - low) / finest).ceil()
    if bool((cells < needed).any()) or float(cells.prod()) > AT_ONCE:
        raise ValueError(
            f"points must be at least {needed.long().tolist()} on this grid, so that no cell is "
            f"wider than the smallest noise, and at most {AT_ONCE} together, not {grid[2]}: take "
            f"tighter corners, a process with more noise at t = 0, or by_points"
        )
    index = torch.cartesian_prod(*(torch.arange(k) for k in cells.long().tolist())).view(-1, d)
    middles = low + (high - low) * (index + 0.5) / cells
    found = floating("log_p(offsets)", log_p(middles))
    if found.shape != middles.shape[:1] or bool(found.isnan().any()):
        raise ValueError(
            f"log_p must give [{len(middles)}] numbers, none of them NaN, not {list(found.shape)}"
        )
    return Points(process, middles, found)


def by_points(
    region: Region, process: Process, generator: torch.Generator, *, points: int = 4096
) -> Points:
    r"""The noised law of a region's own draws, for regions without a closed form.

    Exact for the draws, and for the region as long as the noise (in units of y) is well above the
    distance of neighbouring draws, about ``(volume / points) ** (1 / dim)``: below it the law is
    that of the single points, and samples are copies of them. The density at high noise errs by
    about :math:`1/\sqrt{\text{points}}`.
    """
    count("points", points)
    count("points", points)
    return Points(process, region._draw(points, generator), torch.zeros(points))


class Union(Exact):
    r"""A mixture of exact laws, :math:`p_t = \sum_k w_k p_{k,t}`; the noise is theirs by share.

    Parameters
    ----------
    parts : sequence of Exact
        Of one process.
    weights : sequence of as many positive numbers
        Normalised here.

    Raises
    ------
    ValueError
        For parts without a density, of different processes, and other weights.
    """

    def __init__(self, parts: Sequence[Exact], weights: Sequence[float]) -> None:
        super().__init__(common_process({f"part {k}": part for k, part in enumerate(parts)}))
        if not all(isinstance(part, Exact) for part in parts):
            raise ValueError("parts must be Exact: others have no density to weigh them by")
        weight = floating("weights", weights).double()
        if weight.shape != (len(parts),) or not bool((weight > 0).all() & weight.isfinite().all()):
            raise ValueError(f"weights must be {len(parts)} positive numbers, not {weights}")
        self.parts, self.log_weights = [*parts], (weight / weight.sum()).log()
        self._registered = nn.ModuleList(parts)  # so that .to() reaches them

    def _logs(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        logs = [part._log_density(x, signal, noise) for part in self.parts]
        return torch.stack(logs, 1) + self.log_weights.to(x)

    def _eps(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        share = self._logs(x, signal, noise).softmax(1)
        each = torch.stack([part._eps(x, signal, noise) for part in self.parts], 1)
        return torch.einsum("nk,nkd->nd", share, each)

    def _log_density(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        return self._logs(x, signal, noise).logsumexp(1)


@dataclass(frozen=True)
class Cut(Region):
    r"""The part of a region in a half space :math:`\langle n, u \rangle \le b` of offsets.

    Draws are those of the region that lie in it. Cells are 32 boxes of equal mass, to about 1.5 %,
    halved in turn along the axes at the medians of draws. The distance is a lower bound,

    .. math:: \max\bigl(d(u),\ \sqrt{|u - p|^2 + d(p)^2}\bigr)

    with the region's distance d and p the nearest point of the half space: zero in the set alone,
    and exact where a box is cut along an axis; elsewhere it may be short beside the cut.

    Parameters
    ----------
    region : Region
    half_space : (normal, offset)
        The normal n of any length, and b, in units of y.

    Raises
    ------
    ValueError
        For a normal of other length or zero, and if less than one draw of 1,000 is left.
    """

    region: Region
    half_space: tuple[Sequence[float], float]

    LEVELS, LEAST = 5, 0.001

    def __post_init__(self) -> None:
        normal = point("normal", self.half_space[0], self.region.dim)
        (offset,) = point("offset", [self.half_space[1]])
        if not any(normal):
            raise ValueError("normal must not be zero")
        length = math.hypot(*normal)
        unit = tuple(v / length for v in normal)
        object.__setattr__(self, "half_space", (unit, offset / length))
        share = float((self._beyond(self.region._some()) <= 0).double().mean())
        if share < self.LEAST:
            raise ValueError(
                f"half_space leaves {share:.2%} of the region: at least {self.LEAST:.1%} must be "
                f"left, since draws outside are drawn again"
            )

    @property
    def dim(self) -> int:
        return self.region.dim

    @property
    def dc(self) -> int:
        return self.region.dc

    @property
    def n_cells(self) -> int:
        return int(2**self.LEVELS)

    @property
    def slack(self) -> tuple[float, ...]:
        return self.region.slack

    def anchor(self, c: Tensor) -> Tensor:
        return self.region.anchor(c)

    def _beyond(self, u: Tensor) -> Tensor:
        """How far each offset ``[..., dim]`` lies beyond the plane; negative inside."""
        return u @ u.new_tensor(self.half_space[0]) - self.half_space[1]

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        found: list[Tensor] = []
        while sum(map(len, found)) < n:
            some = self.region._draw(max(n, 1024), generator)
            found.append(some[self._beyond(some) <= 0])
        return torch.cat(found)[:n]

    def _distance(self, u: Tensor) -> Tensor:
        away = self._beyond(u).clamp(min=0)
        nearest = u - away.unsqueeze(-1) * u.new_tensor(self.half_space[0])
        around = torch.hypot(away, self.region._distance(nearest))
        return torch.maximum(self.region._distance(u), around)

    @cached_property
    def _medians(self) -> list[tuple[int, Tensor]]:
        """The axis of every halving, and where each box of that level is cut."""
        u = self._draw(2**17, torch.Generator().manual_seed(0)).double()
        spread = u.std(0)
        axes = [k for k in range(self.dim) if spread[k] > 1e-6 * spread.max()]
        boxes, found = u.unsqueeze(0), []
        for level in range(self.LEVELS):
            axis = axes[level % len(axes)]
            order = boxes[..., axis].argsort(1).unsqueeze(2).expand_as(boxes)
            boxes = boxes.gather(1, order).unflatten(1, (2, -1))
            found.append((axis, (boxes[:, 0, -1, axis] + boxes[:, 1, 0, axis]) / 2))
            boxes = boxes.flatten(0, 1)
        return found

    def _cells(self, u: Tensor) -> Tensor:
        cell = torch.zeros(u.shape[:-1], dtype=torch.long, device=u.device)
        for axis, cuts in self._medians:
            cell = 2 * cell + (u[..., axis] > cuts.to(u)[cell])
        return cell
