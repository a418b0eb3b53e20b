"""What the composition widget shows: two models, the law that is wanted, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import contourpy
import numpy as np
import torch
from scipy import stats
from torch import Tensor

from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactMixture, exact_denoiser
from dualdiff.experiments.members import Networks
from dualdiff.experiments.scenarios import Scenario
from dualdiff.experiments.scenes import Plane
from dualdiff.lora import clone
from dualdiff.metrics import total_variation_floor
from dualdiff.process import Process
from dualdiff.regions import Box, Region
from dualdiff.widgets.base import Refused

POINTS = 500
"""Samples at rest."""
SIZES = range(50, 2001, 50)
"""Numbers of samples that can be asked for: whole groups of SMC."""

Line = list[list[float]]


@dataclass(frozen=True)
class Outline:
    """Closed lines in a panel's two coordinates; ``role`` gives their colour.

    ``role`` is "general", "specialised", "truth" (the wanted law) or "object" (of the robot's
    world), ``fill`` the opacity inside.
    """

    role: str
    lines: list[Line]
    fill: float = 0.1


@dataclass(frozen=True)
class Panel:
    """A view of two coordinates.

    Parameters
    ----------
    title : str
    axes : (int, int)
        Coordinates of a sample; of its image under ``map`` if there is one.
    x, y : (float, float)
        Ranges.
    labels : (str, str)
        Of the axes, with units.
    outlines : list of Outline
    map : [[a, b, shift], [a, b, shift]], optional
        Affine map of the samples' plane.
    """

    title: str
    axes: tuple[int, int]
    x: tuple[float, float]
    y: tuple[float, float]
    labels: tuple[str, str]
    outlines: list[Outline]
    map: list[list[float]] | None = None

    @property
    def ratio(self) -> float:
        """Height over width."""
        wide, high = (end - start for start, end in (self.x, self.y))
        return min(1.0, max(0.55, high / wide))


class Movable(NamedTuple):
    """The box in which a reader moves the first two entries of the condition."""

    low: tuple[float, float]
    high: tuple[float, float]
    names: tuple[str, str]


class Wall(NamedTuple):
    """A box that a reader closes from the right, in the frame in which samples are drawn.

    ``low``, ``high``: its corners when the wall is out of sight; the wall is its right face.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]


class Grid(NamedTuple):
    """A law in the plane on a grid of equal cells, and the fine cells that count as inside.

    ``masses [k, k]`` (sum at most 1) and ``inside [f, f]``, first index along x.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    masses: Tensor
    inside: Tensor


@dataclass(frozen=True)
class Stage:
    """A scene made ready for the composition widget.

    Parameters
    ----------
    title, note, inside : str
        Its name; what one is looking at; what accuracy is the share of.
    members : mapping of "general", "specialised", "unconditional" to denoisers
        Networks (:class:`~dualdiff.networks.MLP`) or mixtures, of one process.
    target : Region or Grid
        The wanted law, around the condition if ``framed``: uniform on a region, or a grid's masses.
    panels : list of Panel
    condition : tuple of float
        Where it starts, original units.
    movable : Movable, optional
    framed : bool
        Whether samples are drawn and scored as offsets from the condition.
    wall : Wall, optional
        A third member: uniform on the box left of the wall.
    moves : bool
        Whether the specialised law can be moved: a target that is a region moves along, one on a
        grid is the product of the members, which are mixtures.
    learned : (float, float), optional
        Weights of the two models that were learned from cases held out: one more preset.
    names : mapping of roles to words for the legend
    """

    title: str
    note: str
    inside: str
    members: Mapping[str, Denoiser]
    target: Region | Grid
    panels: list[Panel]
    condition: tuple[float, ...]
    movable: Movable | None = None
    framed: bool = True
    wall: Wall | None = None
    moves: bool = False
    learned: tuple[float, float] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def process(self) -> Process:
        """Of all members."""
        return self.members["general"].process

    def origin(self, condition: Sequence[float]) -> Tensor:
        """Where samples at a condition are seen from, float64 ``[dy]``, if they are framed."""
        c = torch.tensor(condition, dtype=torch.float64)
        return self.target.anchor(c) if isinstance(self.target, Region) else c

    def wall_at(self, share: float) -> float:
        """First coordinate of the wall at a share of the first panel's width."""
        left, right = self.panels[0].x
        return left + share * (right - left)

    def constraint(self, share: float) -> Denoiser:
        """The exact denoiser of the box that the wall leaves.

        Raises
        ------
        Refused
            If the scene has no wall.
        """
        if self.wall is None:
            raise Refused(f"the scene {self.title!r} has no wall")
        box = Box(self.wall.low, (self.wall_at(share), *self.wall.high[1:]))
        return exact_denoiser(box, self.process)

    def floor(self, n: int) -> float:
        """Mean total variation of ``n`` independent draws of the wanted law itself."""
        if isinstance(self.target, Region):
            return total_variation_floor(n, self.target.n_cells)
        return grid_floor(self.target.masses, n)


def grid_floor(masses: Tensor, n: int) -> float:
    r"""Mean total variation of n draws to the law with these ``masses``, exactly.

    .. math:: \tfrac12 \sum_k E\lvert X_k / n - p_k \rvert, \quad X_k \sim \mathrm{Bin}(n, p_k),
              \qquad E\lvert X - np \rvert = 2 m (1 - p) P(X = m), \; m = \lfloor np \rfloor + 1

    (De Moivre; Diaconis and Zabell 1991). What the masses leave out of 1 counts as one more cell.
    """
    p = masses.double().flatten().clamp(min=0).numpy()
    p = np.append(p[p > 1e-100], max(0.0, 1 - p.sum()))  # scipy overflows where there is none
    m = np.floor(n * p) + 1
    return float((m * (1 - p) * stats.binom.pmf(m, n, p)).sum() / n)


class Normal(Denoiser):
    r"""A normal law with independent coordinates in standardised units, whatever the condition.

    With mean m and variance v of the data it predicts
    :math:`\varepsilon = \sigma_t (y - \sqrt{\bar\alpha_t} m) / (\bar\alpha_t v + \sigma_t^2)`.
    What an unconditional model knows where a target is not seen from its condition.

    Parameters
    ----------
    process : Process
    y : Tensor [n, dy], optional
        Data in original units whose moments it has; by default it is standard normal.
    """

    def __init__(self, process: Process, y: Tensor | None = None) -> None:
        super().__init__()
        self.process = process
        known = None if y is None else process.encode_y(y)
        self.mean = torch.zeros(process.dy) if known is None else known.mean(0)
        self.variance = torch.ones(process.dy) if known is None else known.var(0)

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        signal, noise = self.process.signal(t), self.process.noise(t)
        return noise * (y - signal * self.mean.to(y)) / (signal**2 * self.variance.to(y) + noise**2)


# --- two kinds of stages ------------------------------------------------------------------


def network_stage(networks: Networks, learned: tuple[float, float] | None = None) -> Stage:
    """The trained general and specialised network of a synthetic scenario; ``learned`` weights."""
    world = networks.scenario
    if not isinstance(world, Scenario):
        raise ValueError(f"networks must be of a Scenario, which has regions, not of {world.name}")
    # Copies: the widget samples on the CPU, wherever the chapter does.
    general, specialised = (
        clone(trained.network).cpu() for trained in (networks.general, networks.specialised())
    )
    target = world.specialised
    low, high = world.condition_low, world.condition_high
    middle = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    name, names = world.name.replace("_", " "), ("c_x", "c_y")
    return Stage(
        title=f"{name}, trained networks",
        note=(
            f"The {name}: every dot is a place that the two networks propose for a plate, seen "
            f"from the condition c. The general network learned {networks.profile.n_general:,} "
            f"homes, the specialised one {networks.profile.n_specialised} plates of this home, "
            "whose region is outlined in its colour. Move the weights, c and the region."
        ),
        inside="share inside the specialised region",
        members={
            "general": general,
            "specialised": specialised,
            "unconditional": unconditional(
                world.general, general.process, networks.rows("general")[0]
            ),
        },
        target=target,
        panels=[_panel(*view, world.general, target) for view in VIEWS[world.general.dim]],
        condition=middle,
        movable=Movable((low[0], low[1]), (high[0], high[1]), names) if len(low) > 1 else None,
        wall=wide(*world.general.frame()) if type(target).anchor is Region.anchor else None,
        moves=True,
        learned=learned,
    )


def wide(low: Sequence[float], high: Sequence[float]) -> Wall:
    """A box five times as wide as another around it: far enough to be no wall on other sides."""
    corners = torch.tensor([low, high]).double()
    room = 2 * (corners[1] - corners[0]).clamp(min=1.0)
    return Wall(tuple((corners[0] - room).tolist()), tuple((corners[1] + room).tolist()))


def unconditional(region: Region, process: Process, y: Tensor) -> Denoiser:
    """The normal law with the moments of a region around its condition, else with those of y."""
    if type(region).anchor is not Region.anchor:
        return Normal(process, y)
    mean, covariance = (x.numpy() for x in region.moments())
    return ExactMixture(process, [1.0], mean[None], covariance[None])


def plane_stage(scene: Plane, note: str, *views: tuple[float, float]) -> Stage:
    """Two Gaussian mixtures in the plane and their product; ``views``: what is shown of x and y."""
    reach, side = scene.reach, len(scene.grid)
    laws = {"general": scene.general, "specialised": scene.specialised}
    outlined = [
        Outline(role, _highest(scene.log_clean(law).exp(), reach, Plane.HOLDS), 0.08)
        for role, law in laws.items()
    ]
    outlined.append(Outline("truth", _highest(scene.target, reach, Plane.HOLDS), 0.0))
    fine = scene.target.unflatten(0, (side // 2, 2)).unflatten(2, (side // 2, 2)).mean((1, 3))
    x, y = views or [(-reach, reach)] * 2
    corner = (-reach, -reach), (reach, reach)
    return Stage(
        title=f"{scene.title}, exact scores",
        note=note,
        inside=f"share where the product has {Plane.HOLDS:.0%} of its mass",
        members={**laws, "unconditional": scene.unconditional},
        target=Grid(*corner, scene.masses(scene.target), fine >= scene.level()),
        panels=[Panel("the plane", (0, 1), x, y, ("y₁", "y₂"), outlined)],
        condition=(0.0, 0.0),
        wall=wide(*corner),
        moves=True,
        names={"truth": f"their product ({Plane.HOLDS:.0%} of it)"},
    )


# --- outlines -----------------------------------------------------------------------------------


VIEWS = {
    2: [("the plane", (0, 1))],
    3: [("from above", (0, 1)), ("from the side", (0, 2))],
}
"""Titles and axes of the panels by the number of dimensions."""


def _thick(region: Region, axes: tuple[int, int]) -> list[Line]:
    """A region seen along the axis that is left out; where it is flat with what counts as on it."""
    found = []
    for line in region.outlines(axes):
        if len(line) == 2:
            up = line.new_tensor([[0.0, region.slack[axes[1]]]])
            line = torch.cat([line - up, (line + up).flip(0)])
        found.append(line.mul(1e4).round().div(1e4).tolist())
    return found


def _panel(title: str, axes: tuple[int, int], general: Region, own: Region) -> Panel:
    low, high = (torch.tensor(corner).double() for corner in general.frame())
    slack = torch.tensor(general.slack).double()
    room = 0.3 * (high - low + 2 * slack) + slack
    ranges = [(float(low[k] - room[k]), float(high[k] + room[k])) for k in axes]
    around = type(general).anchor is Region.anchor
    labels = [f"{'xyz'[k]} − c_{'xyz'[k]}" if around else f"{'xyz'[k]}, offset" for k in axes]
    outlined = [
        Outline("general", _thick(general, axes), 0.06),
        Outline("specialised", _thick(own, axes), 0.12),
    ]
    return Panel(title, axes, ranges[0], ranges[1], (labels[0], labels[1]), outlined)


def midpoints(low: Sequence[float], high: Sequence[float], side: int) -> Tensor:
    """Midpoints of a grid, ``[side, side, 2]``, first index along x."""
    unit = (torch.arange(side) + 0.5) / side
    lines = [a + (b - a) * unit for a, b in zip(low, high, strict=True)]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)


def contours(
    values: np.ndarray, low: Sequence[float], high: Sequence[float], level: float
) -> list[Line]:
    """Contour lines of ``values [k, k]`` (first index along x) at a level, three digits."""
    side = len(values)
    mid = [a + (b - a) * (np.arange(side) + 0.5) / side for a, b in zip(low, high, strict=True)]
    found = contourpy.contour_generator(mid[0], mid[1], values.T).lines(level)
    return [np.round(np.asarray(line), 3).tolist() for line in found]


def _highest(density: Tensor, reach: float, share: float) -> list[Line]:
    """Outline of the region of highest density that has a share of the mass."""
    mass = density.flatten().sort(descending=True).values
    level = float(mass[int((mass.cumsum(0) < share * mass.sum()).sum())])
    return contours(density.numpy(), (-reach, -reach), (reach, reach), level)


# --- scenes of the book's playground --------------------------------------------------------------


def islands() -> Plane:
    """Nine Gaussians on a grid, and a broad one over a corner of it: the product is four of them.

    Unlike the ring and the bar the two agree about where the mass is, and only differ in how much
    of it they know.
    """
    line = np.array([-1.1, 0.0, 1.1])
    means = np.array([[x, y] for x in line for y in line])
    return Plane(
        "islands",
        "nine islands",
        general=(np.ones(9), means, np.stack([np.eye(2) * 0.17**2] * 9)),
        specialised=([1.0], [[-0.6, -0.5]], np.eye(2)[None] * 0.55**2),
        reach=2.0,
    )


def discs(apart: float = 0.4) -> Plane:
    """Two round laws, equal Gaussians on rings of six, twelve, ...; the general one is larger."""

    def filled(rings: int, radius: float, x: float) -> tuple[Any, Any, Any]:
        steps = [(k, i) for k in range(1, rings + 1) for i in range(6 * k)]
        z = np.array([0.0] + [k / rings * np.exp(1j * np.pi * i / (3 * k)) for k, i in steps])
        means = radius * np.stack([z.real, z.imag], 1) + [x, 0.0]
        spread = np.eye(2) * (0.6 * radius / rings) ** 2
        return np.ones(len(means)), means, np.stack([spread] * len(means))

    return Plane("discs", "two discs", filled(4, 0.85, 0.0), filled(2, 0.3, apart), reach=2.4)
