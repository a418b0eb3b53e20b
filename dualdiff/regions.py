"""Regions: the laws of targets around a condition, uniform on a box or on a disc.

A `Region` lives in the frame of its condition: what counts is the offset ``u = y - c``. Everything
is in original (not standardised) units.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from dualdiff.process import floating

# Forming c + u and then y - c rounds twice in float32, up to 2e-6 an axis for coordinates below 32.
# Points this close to a region count as inside, so that no drawn point is ever thrown out.
ATOL = 1e-5
DRAWS = 20_000  # behind the moments and the frame of a region that does not know its own


class Region(ABC):
    """Uniform law on a set of offsets ``u = y - c``, cut into cells of equal mass.

    A subclass describes the set in offsets (`dim`, `n_cells`, `_draw`, `_distance`, `_cells`); this
    class turns points and conditions into offsets, so that all regions treat shapes, devices and
    misses alike, and finds what else is asked from draws. What it knows better it overrides.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates of a point."""

    @property
    def dc(self) -> int:
        """Number of coordinates of a condition; another one than `dim` needs an `anchor`."""
        return self.dim

    @property
    @abstractmethod
    def n_cells(self) -> int:
        """Number of equal-mass cells."""

    @property
    def middle(self) -> tuple[float, ...]:
        """Mean offset of the law."""
        return tuple(self.moments()[0].tolist())

    @property
    def slack(self) -> tuple[float, ...]:
        """How far beyond the law, along each axis, a point still counts as inside."""
        return (0.0,) * self.dim

    def anchor(self, c: Tensor) -> Tensor:
        """The point from which offsets at conditions ``c [..., dc]`` count, ``[..., dim]``."""
        return c

    @abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n uniform offsets, [n, dim], on the generator's device."""

    @abstractmethod
    def _distance(self, u: Tensor) -> Tensor:
        """Euclidean distance of the offsets [..., dim] to the set, [...]."""

    @abstractmethod
    def _cells(self, u: Tensor) -> Tensor:
        """Cell of each offset [..., dim] as if it were inside, int64 [...]."""

    def draw(self, c: Tensor, generator: torch.Generator, k: int | None = None) -> Tensor:
        """Draw uniformly from the region around each condition.

        Parameters
        ----------
        c : Tensor [n, dim]
            Conditions; the result has their dtype (floating) and device.
        generator : torch.Generator
            On any device: the numbers are drawn there and then moved to c.
        k : int, optional
            Draws per condition.

        Returns
        -------
        Tensor [n, dim], or [n, k, dim] with k

        Raises
        ------
        ValueError
            c is not [n, dim] numbers, or k is not a positive integer.
        """
        c = floating("c", c)
        if c.ndim != 2 or c.shape[1] != self.dc:
            raise ValueError(f"c must have shape [n, {self.dc}], got {list(c.shape)}")
        start = self.anchor(c)
        if k is None:
            return start + self._draw(len(c), generator).to(c)
        count("k", k)
        return start[:, None] + self._draw(len(c) * k, generator).to(c).view(len(c), k, self.dim)

    def offsets(self, y: Tensor, c: Tensor) -> Tensor:
        """Points in the frame of their condition, ``u = y - c``, or ``y - anchor(c)``.

        Parameters
        ----------
        y : Tensor [..., dim]
        c : Tensor [..., dc], broadcastable to y; for several points per condition ``c[:, None]``

        Raises
        ------
        ValueError
            The last dimension is not `dim` or `dc`, or the shapes do not broadcast.
        """
        y, c = floating("y", y), floating("c", c)
        for name, x, size in (("y", y, self.dim), ("c", c, self.dc)):
            if x.ndim == 0 or x.shape[-1] != size:
                raise ValueError(f"{name} must have shape [..., {size}], got {list(x.shape)}")
        try:
            return y - self.anchor(c)
        except RuntimeError as error:
            if y.device != c.device:
                raise
            raise ValueError(
                f"y {list(y.shape)} and c {list(c.shape)} do not broadcast; "
                "for several points per condition pass c[:, None]"
            ) from error

    def distance(self, y: Tensor, c: Tensor) -> Tensor:
        """Euclidean distance to the region, 0 inside and within `ATOL` of it.

        Shapes and errors as in `offsets`; the result has shape [...] and the units of y.
        """
        return self._measured(self.offsets(y, c))

    def contains(self, y: Tensor, c: Tensor) -> Tensor:
        """Whether each point lies in the region: exactly where `distance` is 0. bool [...]."""
        return self.distance(y, c) == 0

    def cells(self, y: Tensor, c: Tensor) -> Tensor:
        """Index of the equal-mass cell of each point, -1 for a miss. int64 [...]."""
        u = self.offsets(y, c)
        return torch.where(self._measured(u) == 0, self._cells(u), -1)

    def _measured(self, u: Tensor) -> Tensor:
        distance = self._distance(u)
        return torch.where(distance <= ATOL, torch.zeros_like(distance), distance)

    def _some(self) -> Tensor:
        """Always the same offsets, float64 [DRAWS, dim]."""
        return self._draw(DRAWS, torch.Generator().manual_seed(0)).double()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean ``[dim]`` and covariance ``[dim, dim]`` of the offsets, float64."""
        u = self._some()
        return u.mean(0), torch.atleast_2d(u.T.cov())

    def frame(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Corners of the box around all offsets of the law; where it is flat they are equal."""
        u = self._some()
        return tuple(u.amin(0).tolist()), tuple(u.amax(0).tolist())

    def outlines(self, axes: tuple[int, int] = (0, 1)) -> list[Tensor]:
        """The law seen along the axes that are left out: closed lines, float64 [k, 2] each.

        Lines around holes run the other way round. Where the law is flat there are two points.
        By default found from distances on a grid, about 1 % of the size too wide.

        Parameters
        ----------
        axes : (int, int)
            Those that are seen, in rising order.

        Raises
        ------
        ValueError
            With less than two or more than three dimensions.
        """
        from contourpy import contour_generator

        if self.dim not in (2, 3):
            raise ValueError(f"a region of {self.dim} dimensions has no outlines; 2 or 3 are seen")
        low, high = (torch.tensor(corner) for corner in self.frame())
        side = 401 if self.dim == 2 else 121
        room = float((high - low).max()) / 20
        ends = zip((low - room).tolist(), (high + room).tolist(), strict=True)
        lines = [torch.linspace(a, b, side, dtype=torch.float32) for a, b in ends]
        far = self._distance(torch.stack(torch.meshgrid(*lines, indexing="ij"), -1))
        hidden = [k for k in range(self.dim) if k not in axes]
        seen = far.amin(hidden) if hidden else far
        # Between a point inside and one outside the distance has a kink: half a step further on it
        # has none, so that the line is smooth.
        level = max(float(lines[k][1] - lines[k][0]) for k in range(self.dim))
        x, y = (lines[k].numpy() for k in axes)
        grid = contour_generator(x, y, seen.T.numpy())
        return [torch.from_numpy(line[:-1:2].copy()).double() for line in grid.lines(level)]


@dataclass(frozen=True)
class Box(Region):
    """The box c + [low, high] in any number of dimensions; cells are divisions^d equal boxes.

    Parameters
    ----------
    low, high : tuple of float
        Opposite corners relative to the condition, low < high on every axis.
    divisions : int
        Cells per axis.

    Raises
    ------
    ValueError
        Corners not finite, of different length or not in order; divisions below 1.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    divisions: int = 5

    def __post_init__(self) -> None:
        # Lists (from JSON or a parameters cell) become tuples, which keeps a region hashable.
        object.__setattr__(self, "low", point("low", self.low))
        object.__setattr__(self, "high", point("high", self.high, len(self.low)))
        ordered("low", self.low, "high", self.high)
        count("divisions", self.divisions)

    @property
    def dim(self) -> int:
        return len(self.low)

    @property
    def n_cells(self) -> int:
        return self.divisions**self.dim

    @property
    def middle(self) -> tuple[float, ...]:
        return tuple((a + b) / 2 for a, b in zip(self.low, self.high, strict=True))

    def moments(self) -> tuple[Tensor, Tensor]:
        low, high = torch.tensor([self.low, self.high], dtype=torch.float64)
        return (low + high) / 2, torch.diag((high - low) ** 2 / 12)

    def frame(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.low, self.high

    def outlines(self, axes: tuple[int, int] = (0, 1)) -> list[Tensor]:
        (a, b), (c, d) = ((self.low[k], self.high[k]) for k in axes)
        return [torch.tensor([[a, c], [b, c], [b, d], [a, d]], dtype=torch.float64)]

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        return uniform(n, self.low, self.high, generator)

    def _distance(self, u: Tensor) -> Tensor:
        low, high = u.new_tensor(self.low), u.new_tensor(self.high)
        return torch.linalg.vector_norm(u - u.clamp(low, high), dim=-1)

    def _cells(self, u: Tensor) -> Tensor:
        low, high = u.new_tensor(self.low), u.new_tensor(self.high)
        index = to_bin((u - low) / (high - low), self.divisions)
        strides = [self.divisions ** (self.dim - 1 - axis) for axis in range(self.dim)]
        return (index * index.new_tensor(strides)).sum(-1)


@dataclass(frozen=True)
class Disc(Region):
    """A flat horizontal disc at c + (centre, height); cells are equal-area rings x sectors.

    Draws lie on the disc itself. Inside means planar distance <= radius and height error <=
    height_tolerance, so `distance` is the one to the disc thickened by its tolerance.

    Parameters
    ----------
    radius : float
    centre : tuple of two floats
        Planar offset of the disc from the condition.
    height : float
        Height of the disc above the condition.
    height_tolerance : float
        The thesis does not give one; math.inf leaves the planar check alone.
    rings, sectors : int
        Cells in radius (equal area) and in angle.

    Raises
    ------
    ValueError
        A value not finite, a radius or tolerance not positive, a count below 1.
    """

    radius: float
    centre: tuple[float, float] = (0.0, 0.0)
    height: float = 10.0
    height_tolerance: float = 0.25
    rings: int = 5
    sectors: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", point("centre", self.centre, 2))
        if not math.isfinite(self.height):
            raise ValueError(f"height must be finite, got {self.height}")
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise ValueError(f"radius must be positive and finite, got {self.radius}")
        if not self.height_tolerance > 0:
            raise ValueError(
                f"height_tolerance must be positive (math.inf allowed), got {self.height_tolerance}"
            )
        count("rings", self.rings)
        count("sectors", self.sectors)

    @property
    def dim(self) -> int:
        return 3

    @property
    def n_cells(self) -> int:
        return self.rings * self.sectors

    @property
    def middle(self) -> tuple[float, ...]:
        return (*self.centre, self.height)

    @property
    def slack(self) -> tuple[float, ...]:
        return (0.0, 0.0, self.height_tolerance)

    def moments(self) -> tuple[Tensor, Tensor]:
        along = torch.tensor([0.25, 0.25, 0.0], dtype=torch.float64)
        return torch.tensor(self.middle, dtype=torch.float64), torch.diag(self.radius**2 * along)

    def frame(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        (x, y), r, h = self.centre, self.radius, self.height
        return (x - r, y - r, h), (x + r, y + r, h)

    def outlines(self, axes: tuple[int, int] = (0, 1)) -> list[Tensor]:
        if axes != (0, 1):
            return [torch.tensor([[end[k] for k in axes] for end in self.frame()]).double()]
        turn = torch.arange(120, dtype=torch.float64) * (2 * math.pi / 120)
        rim = torch.stack([turn.cos(), turn.sin()], -1)
        return [self.radius * rim + torch.tensor(self.centre, dtype=torch.float64)]

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        area, angle = uniform(n, (0.0, 0.0), (1.0, 2 * math.pi), generator).unbind(-1)
        r = self.radius * area.sqrt()  # uniform in area, not in radius
        x, y = self.centre
        height = torch.full_like(r, self.height)
        return torch.stack([x + r * angle.cos(), y + r * angle.sin(), height], dim=-1)

    def _planar(self, u: Tensor) -> Tensor:
        return u[..., :2] - u.new_tensor(self.centre)

    def _distance(self, u: Tensor) -> Tensor:
        beside = (torch.linalg.vector_norm(self._planar(u), dim=-1) - self.radius).clamp(min=0)
        above = ((u[..., 2] - self.height).abs() - self.height_tolerance).clamp(min=0)
        return torch.hypot(beside, above)

    def _cells(self, u: Tensor) -> Tensor:
        x, y = self._planar(u).unbind(-1)
        ring = to_bin((x**2 + y**2) / self.radius**2, self.rings)
        turn = torch.atan2(y, x) / (2 * math.pi)
        return ring * self.sectors + to_bin(turn - turn.floor(), self.sectors)


def uniform(
    n: int, low: Sequence[float], high: Sequence[float], generator: torch.Generator
) -> Tensor:
    """n uniform points of the box [low, high], float32, on the generator's device."""
    unit = torch.rand(
        n, len(low), generator=generator, device=generator.device, dtype=torch.float32
    )
    start, stop = unit.new_tensor(low), unit.new_tensor(high)
    return start + (stop - start) * unit


def to_bin(unit: Tensor, bins: int) -> Tensor:
    """Bin of each number of [0, 1]; what rounding put just outside goes to the outermost bin."""
    return (unit * bins).floor().clamp(0, bins - 1).long()


def point(name: str, value: Sequence[float], length: int | None = None) -> tuple[float, ...]:
    """`value` as a tuple of finite floats of that length, or a ValueError with its name."""
    numbers = tuple(float(x) for x in value)
    if not numbers or not all(map(math.isfinite, numbers)) or length not in (None, len(numbers)):
        wanted = "one or more" if length is None else f"{length}"
        raise ValueError(f"{name} must be {wanted} finite numbers, got {value}")
    return numbers


def ordered(low_name: str, low: Sequence[float], high_name: str, high: Sequence[float]) -> None:
    """Refuse corners that are not in order on every axis."""
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ValueError(f"{low_name} must be below {high_name} on every axis, got {low}, {high}")


def count(name: str, value: int) -> None:
    """Refuse what is not an integer of at least 1."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
