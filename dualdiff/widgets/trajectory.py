"""From noise to samples under the reader's hand: reverse chains on the density they should follow.

Chains are computed beforehand and travel with the widget, so it needs no kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from traitlets import Bytes, Float, Int, List, Unicode, validate

from dualdiff.denoisers import Denoiser
from dualdiff.exact import Exact, ExactMixture, exact_denoiser
from dualdiff.experiments.rules import RULES
from dualdiff.experiments.scenes import Boxes, Plane, Scene
from dualdiff.plots import COLOURS
from dualdiff.process import Process
from dualdiff.samplers import Sampler, trajectory
from dualdiff.widgets.base import Refused, Widget, one_of
from dualdiff.widgets.bundle import bundle

REACH = 2.8
"""What is shown: from -REACH to REACH in either direction, standardised units."""
SIDE = 36
"""Cells of a density along either side."""
LEVELS = 65535
"""Steps of 16 bits, in which points are stored: far below a pixel, at half the size of float32."""
ALL = "all"
"""The choice of all runs, side by side."""
TITLES = {
    "general": "general alone",
    "specialised": "specialised alone",
    "sum": "sum of both noises",
    "product": "exact product",
}
ABOUT = {
    "general": "follows the general model's noise alone",
    "specialised": "follows the specialised model's noise alone",
    "sum": "follows the sum of the two models' noises, and should follow the noised product",
    "product": "follows the exact noise of the product, which the sum stands in for",
}
INKS = {"general": "general", "specialised": "specialised", "sum": "joint"}
"""Colours of the runs that have one in :data:`dualdiff.plots.COLOURS`; others have the ink's."""


def product_law(scene: Scene) -> Exact:
    """The product of both members as an exact law: its noised density is the noised product.

    Boxes: uniform on the intersection. Gaussian mixtures: every pair of components gives one,
    with precision :math:`P_i + P_j`, mean :math:`(P_i + P_j)^{-1} (P_i m_i + P_j m_j)` and weight
    :math:`w_i w_j N(m_i; m_j, P_i^{-1} + P_j^{-1})`.

    Raises
    ------
    ValueError
        If no closed form of the scene's product is known.
    """
    if isinstance(scene, Boxes):
        return exact_denoiser(scene.target, scene.general.process)
    if not isinstance(scene, Plane):
        raise ValueError(f"scene must be of boxes or mixtures, not a {type(scene).__name__}")
    (w, m, s), (v, n, r) = (_components(member) for member in (scene.general, scene.specialised))
    m, n, s, r = m[:, None], n[None], s[:, None], r[None]
    overlap = torch.distributions.MultivariateNormal(n.expand(len(m), -1, -1), s + r)
    weights = w[:, None] * v[None] * overlap.log_prob(m.expand(-1, n.shape[1], -1)).exp()
    precision = s.inverse() + r.inverse()
    pull = s.inverse() @ m[..., None] + r.inverse() @ n[..., None]
    means = torch.linalg.solve(precision, pull)[..., 0]
    covariances = precision.inverse()
    covariances = (covariances + covariances.mT) / 2
    return ExactMixture(
        scene.process, weights.flatten(), means.flatten(0, 1), covariances.flatten(0, 1)
    )


def _components(mixture: Exact) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances of a mixture in original units."""
    assert isinstance(mixture, ExactMixture)
    covariances = mixture.basis @ torch.diag_embed(mixture.variances) @ mixture.basis.mT
    scale = mixture.scale
    return mixture.log_weights.exp(), mixture.means * scale, covariances * torch.outer(scale, scale)


def _denoiser(scene: Scene, name: str) -> Denoiser:
    """What a run follows: a member, the exact product, or a rule."""
    if name == "product":
        return product_law(scene)
    return scene.members[name] if name in scene.members else scene.rule(name)


def _target(scene: Scene, name: str) -> Exact | None:
    """The law whose noised density a run should follow, if it is known in closed form."""
    members = {"general": scene.general, "specialised": scene.specialised}
    return product_law(scene) if name in ("sum", "product") else members.get(name)


def densities(law: Exact, timesteps: Sequence[int]) -> Tensor:
    """Noised densities on a grid relative to each step's peak, ``[steps, SIDE, SIDE]`` uint8.

    Rows go down and columns to the right, as in a picture. At clean data the density of the last
    noisy step stands: some are not defined without noise.
    """
    line = (torch.arange(SIDE) + 0.5) * (2 * REACH / SIDE) - REACH
    down, right = torch.meshgrid(-line, line, indexing="ij")
    y = torch.stack([right, down], -1).reshape(-1, 2)
    logs = torch.stack([law.log_density(y, max(t, 0), torch.zeros_like(y)) for t in timesteps])
    relative = (logs - logs.amax(1, keepdim=True)).exp()
    return (255 * relative).round().byte().view(len(timesteps), SIDE, SIDE)


class Trajectory(Widget):
    """Points of reverse chains at one step after the other, with a slider for the step.

    ``frame`` is the place in ``steps`` that is shown, ``run`` the run or :data:`ALL`.

    Parameters
    ----------
    process : Process
    timesteps : sequence of F ints
        Shown, from T - 1 to -1 (clean).
    states : mapping of runs to Tensor [F, n, 2]
        Standardised units.
    shades : mapping of runs to Tensor [F, SIDE, SIDE] uint8 or None
        From :func:`densities`; None: nothing behind the points.
    **values
        Of the traits.

    Raises
    ------
    ValueError
        If shapes do not agree, and whenever a trait is set to what it does not take.
    """

    _esm = bundle("trajectory.js")

    frame = Int(0).tag(sync=True)
    run = Unicode(ALL).tag(sync=True)
    steps: List[int] = List().tag(sync=True)
    """Timesteps shown; -1 is clean."""
    signal: List[float] = List().tag(sync=True)
    noise: List[float] = List().tag(sync=True)
    """Factors of the data and of the noise at these steps."""
    runs: List[dict[str, Any]] = List().tag(sync=True)
    """Name, title, text, colour and number of the density of every run, in the order of the points.

    A list, because a notebook sorts the keys of what it stores.
    """
    points = Bytes().tag(sync=True)
    """``[runs, F, n, 2]``, little-endian uint16: 0 is -span, the largest is span."""
    span = Float().tag(sync=True)
    shades = Bytes().tag(sync=True)
    """``[densities, F, side, side]`` uint8."""
    side = Int(SIDE).tag(sync=True)
    reach = Float(REACH).tag(sync=True)

    def __init__(
        self,
        process: Process,
        timesteps: Sequence[int],
        states: Mapping[str, Tensor],
        shades: Mapping[str, Tensor | None],
        **values: Any,
    ) -> None:
        if not states:
            raise ValueError("states must have at least one run, not none")
        shape = (len(timesteps), len(next(iter(states.values()))[0]), 2)
        for name, way in states.items():
            if way.shape != shape:
                raise ValueError(f"states of {name!r} must be {list(shape)}, not {list(way.shape)}")
        all_points = torch.stack(list(states.values())).double()
        span = float(all_points.abs().max())
        levels = ((all_points / span + 1) / 2 * LEVELS).round().numpy().astype("<u2")
        kept: list[bytes] = []  # every density once: the product may be the specialised law
        runs = []
        for name in states:
            shade = shades.get(name)
            data = None if shade is None else shade.numpy().tobytes()
            if data is not None and data not in kept:
                kept.append(data)
            run = {
                "name": name,
                "title": TITLES.get(name) or RULES[name].title,
                "about": ABOUT.get(name, "follows a rule of the chapter on composition"),
                "colour": COLOURS[INKS[name]] if name in INKS else None,
                "shade": None if data is None else kept.index(data),
            }
            runs.append(run)
        super().__init__(
            **values,
            steps=list(timesteps),
            # Not `signal` and `noise` of the process: the last of these steps is the clean data.
            signal=[math.sqrt(process.alpha_bar_at(t)) for t in timesteps],
            noise=[math.sqrt(1 - process.alpha_bar_at(t)) for t in timesteps],
            runs=runs,
            points=levels.tobytes(),
            span=span,
            shades=b"".join(kept),
        )

    @validate("frame")
    def _frame(self, proposal: Any) -> int:
        frame, last = int(proposal["value"]), len(self.steps) - 1
        if not 0 <= frame <= last:
            raise Refused(f"frame must be a whole number from 0 to {last}, not {frame}")
        return frame

    @validate("run")
    def _run(self, proposal: Any) -> str:
        return one_of("run", proposal["value"], (ALL, *self.names))

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [run["name"] for run in self.runs]

    def states(self, name: str) -> np.ndarray:
        """The points of a run as they are stored, ``[F, n, 2]`` in standardised units."""
        levels = np.frombuffer(self.points, "<u2").reshape(len(self.runs), len(self.steps), -1, 2)
        found: np.ndarray = (levels[self.names.index(name)] / LEVELS * 2 - 1) * self.span
        return found

    def density(self, name: str) -> np.ndarray | None:
        """The density behind a run, ``[F, side, side]`` from 0 to 255, rows going down."""
        place = self.runs[self.names.index(name)]["shade"]
        if place is None:
            return None
        shades = np.frombuffer(self.shades, np.uint8)
        return shades.reshape(-1, len(self.steps), self.side, self.side)[place]

    def describe(self) -> str:
        names = ", ".join(run["title"] for run in self.runs)
        count = len(self.states(self.names[0])[0])
        return (
            f"{count} reverse chains in the plane from noise (step {self.steps[0]}) to samples, on "
            f"the noised density that they should follow: {names}. All runs have the same starts "
            "and the same noise."
        )

    def picture(self) -> Figure:
        """A row per run, five steps from noise to samples."""
        last = len(self.steps) - 1
        some = [round(last * share) for share in (0, 0.3, 0.55, 0.8, 1)]
        size = (1.9 * len(some), 1.95 * len(self.runs) + 0.4)
        figure, grid = plt.subplots(
            len(self.runs), len(some), figsize=size, sharex=True, sharey=True, squeeze=False
        )
        for line, run in zip(grid, self.runs, strict=True):
            states, shade = self.states(run["name"]), self.density(run["name"])
            for axes, frame in zip(line, some, strict=True):
                if shade is not None:
                    extent = (-REACH, REACH, -REACH, REACH)
                    axes.imshow(
                        shade[frame],
                        cmap="Greys",
                        vmax=400,
                        extent=extent,
                        interpolation="bilinear",
                    )
                colour = run["colour"] or COLOURS["truth"]
                axes.plot(*states[frame].T, ".", ms=2.5, color=colour)
                axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
                axes.grid(False)
            line[0].set_ylabel(run["title"])
        for axes, frame in zip(grid[0], some, strict=True):
            axes.set_title("samples" if self.steps[frame] < 0 else f"t = {self.steps[frame]}")
        return figure


def trajectory_scrubber(
    scene: Scene,
    rules: Sequence[str] = ("general", "specialised", "sum", "product"),
    *,
    n: int = 200,
    frames: int = 51,
    sampler: Sampler | None = None,
    generator: torch.Generator,
    **values: Any,
) -> Trajectory:
    """Reverse chains of a scene in the plane, to go through step by step.

    Parameters
    ----------
    scene : Scene
        With two coordinates.
    rules : sequence of str
        ``general`` and ``specialised`` alone, ``product`` (the exact one), and names of
        :data:`dualdiff.experiments.rules.RULES`.
    n : int
        Points per run.
    frames : int
        Steps that are kept, spread evenly over those of the sampler, both ends included.
    sampler : Sampler, optional
        As in :func:`dualdiff.samplers.trajectory`.
    generator : torch.Generator
        Every run starts from the state that it has now, so all of them have the same starts and
        the same noise.
    **values
        Where the widget starts: ``frame, run``.

    Raises
    ------
    ValueError
        For another dimension, unknown rules, and numbers below 1 (2 frames).
    """
    process = scene.general.process
    if process.dy != 2:
        raise ValueError(f"scene must have 2 coordinates, not {process.dy}")
    known = tuple(dict.fromkeys((*TITLES, *RULES)))
    for name in rules:
        one_of("rules", name, known)
    for what, number, least in (("rules", len(rules), 1), ("n", n, 1), ("frames", frames, 2)):
        if number < least:
            raise ValueError(f"{what} must be at least {least}, not {number}")
    start, c = generator.get_state(), torch.zeros(n, 2)
    states, shades = {}, {}
    for name in rules:
        generator.set_state(start)
        timesteps, way = trajectory(_denoiser(scene, name), c, generator, sampler=sampler)
        kept = np.unique(np.linspace(0, len(timesteps) - 1, frames).round().astype(int)).tolist()
        shown = [timesteps[i] for i in kept]
        states[name], law = way[kept], _target(scene, name)
        shades[name] = None if law is None else densities(law, shown)
    return Trajectory(process, shown, states, shades, **values)
