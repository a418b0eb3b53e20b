"""The composition widget: drag a weight and see the samples of two models move."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from traitlets import observe, validate

from dualdiff.plots import COLOURS
from dualdiff.widgets.base import Refused, Widget, one_of, within
from dualdiff.widgets.bundle import bundle
from dualdiff.widgets.mirror import RESAMPLING, RULES, SAMPLERS, Request, run
from dualdiff.widgets.stages import POINTS, SIZES, Panel, Stage
from dualdiff.widgets.wire import wire

SOURCES = {"browser": "browser", "torch": "torch", "both": "both"}
TITLES = {"ancestral": "ancestral", "dpm++": "DPM-Solver++ (no fresh noise)"}
SAMPLES = {"sum": "joint", "composable": "told", "guidance": "guided", "smc": "smc"}
"""Whose colour the samples of a rule have; also in composition.js."""
ASKED = (
    *("scene", "rule", "w_general", "w_specialised", "w_wall", "wall", "guidance"),
    *("sampler", "steps", "points", "seed", "condition", "shift"),
)
START = {
    "rule": "sum",
    "w_general": 1.0,
    "w_specialised": 1.0,
    "w_wall": 0.0,
    "wall": 0.5,
    "guidance": 1.5,
    "sampler": "ancestral",
    "steps": 30,
    "points": POINTS,
    "seed": 0,
    "shift": [0.0, 0.0],
}
WEIGHTS = (-1.0, 3.0)
GUIDANCE = (-1.0, 5.0)


def _answer(widget: Composition, message: Any, _: Any) -> None:
    """Tell a view that asks that there is a kernel, so that it offers torch."""
    if message == {"ask": "kernel"}:
        widget.send({"kernel": True})


class Composition(Widget):
    """Samples of a general and a specialised model, composed by a rule, with its sliders.

    The reverse process runs in the browser, in a worker: few samples and steps while something
    moves, then all. With a kernel and ``source`` other than "browser" the same settings drive
    torch too, from the same noise.

    Parameters
    ----------
    stages : mapping of names to Stage
        Scenes to choose from.
    start : values of the traits below
        Where the widget starts, and where its reset leads.

    Attributes
    ----------
    scene : str
        A name of ``stages``.
    rule : {"sum", "composable", "guidance", "smc"}
        See :data:`dualdiff.widgets.mirror.RULES`.
    w_general, w_specialised : float
        Weights of the noise predictions, -1 to 3.
    w_wall : float
        Weight of a third member, 0 to 3: uniform left of a wall, in scenes that have one.
    wall : float
        Where the wall stands, as a share of the first panel's width. Drag it in the panel.
    guidance : float
        Weight of rule "guidance", -1 to 5: 0 the general, 1 the specialised model.
    sampler : {"ancestral", "dpm++"}
        Rule "smc" takes ancestral steps whatever it says.
    steps, points : int
        Of the reverse process, 1 to T; samples, a multiple of 50 (a group of SMC) up to 2,000.
    seed : int
        Of the noise.
    condition : list of float
        Original units.
    shift : list of float
        How far the specialised law has been moved from its place, in the first two coordinates,
        original units; of no effect in scenes where nothing moves. Drag it in a panel.
    frame : int
        The step that is shown.
    source : {"browser", "torch", "both"}
    scores : dict
        Accuracy, total variation and unique share of what the browser last sampled; empty where
        there is nothing to sample.

    Raises
    ------
    Refused
        For values out of range.
    """

    _esm = bundle("composition.js")

    scenes = traitlets.Dict().tag(sync=True)
    scene = traitlets.Unicode().tag(sync=True)
    rule = traitlets.Unicode("sum").tag(sync=True)
    w_general = traitlets.Float(1.0).tag(sync=True)
    w_specialised = traitlets.Float(1.0).tag(sync=True)
    w_wall = traitlets.Float(0.0).tag(sync=True)
    wall = traitlets.Float(0.5).tag(sync=True)
    guidance = traitlets.Float(1.5).tag(sync=True)
    sampler = traitlets.Unicode("ancestral").tag(sync=True)
    steps = traitlets.Int(30).tag(sync=True)
    points = traitlets.Int(POINTS).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    condition = traitlets.List(traitlets.Float()).tag(sync=True)
    shift = traitlets.List(traitlets.Float(), [0.0, 0.0], 2, 2).tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    source = traitlets.Unicode("browser").tag(sync=True)
    torch: Any = traitlets.Dict({"settings": {}}).tag(sync=True)
    scores = traitlets.Dict().tag(sync=True)
    resampling = traitlets.Dict().tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    titles = traitlets.Dict().tag(sync=True)

    def __init__(self, stages: Mapping[str, Stage], **start: Any) -> None:
        if not stages:
            raise Refused("stages must hold at least one scene")
        unknown = set(start) - {"scene", *START}
        if unknown:
            raise Refused(f"{', '.join(sorted(unknown))} is not one of scene, {', '.join(START)}")
        self.stages = dict(stages)
        first = {"scene": next(iter(stages)), **START, **start}
        one_of("scene", first["scene"], self.stages)
        super().__init__(
            scenes={name: wire(stage) for name, stage in stages.items()},
            condition=list(self.stages[first["scene"]].condition),
            resampling={"group": RESAMPLING.group, "threshold": RESAMPLING.threshold},
            start=first,
            # Lists of pairs: notebooks sort the keys of what they store.
            titles={
                "scene": [[name, stage.title] for name, stage in stages.items()],
                "rule": [*map(list, RULES.items())],
                "sampler": [*map(list, TITLES.items())],
                "source": [*map(list, SOURCES.items())],
            },
            frame=first["steps"],
            **first,
        )
        self.on_msg(_answer)

    # --- what is allowed ------------------------------------------------------------------

    @validate("scene")
    def _scene(self, proposal: Any) -> str:
        return one_of("scene", proposal["value"], self.stages)

    @validate("rule")
    def _rule(self, proposal: Any) -> str:
        return one_of("rule", proposal["value"], RULES)

    @validate("sampler")
    def _sampler(self, proposal: Any) -> str:
        return one_of("sampler", proposal["value"], SAMPLERS)

    @validate("source")
    def _source(self, proposal: Any) -> str:
        return one_of("source", proposal["value"], SOURCES)

    @validate("w_general", "w_specialised")
    def _weight(self, proposal: Any) -> float:
        return within(proposal["trait"].name, proposal["value"], *WEIGHTS)

    @validate("w_wall")
    def _wall_weight(self, proposal: Any) -> float:
        return within("w_wall", proposal["value"], 0.0, WEIGHTS[1])

    @validate("wall")
    def _wall(self, proposal: Any) -> float:
        return within("wall", proposal["value"], 0.0, 1.0)

    @validate("shift")
    def _shift(self, proposal: Any) -> list[float]:
        return [within("shift", value, -math.inf, math.inf) for value in proposal["value"]]

    @validate("guidance")
    def _guidance(self, proposal: Any) -> float:
        return within("guidance", proposal["value"], *GUIDANCE)

    @validate("steps")
    def _steps(self, proposal: Any) -> int:
        most = min(stage.process.steps for stage in self.stages.values())
        return int(within("steps", proposal["value"], 1, most))

    @validate("points")
    def _points(self, proposal: Any) -> int:
        value = int(within("points", proposal["value"], SIZES[0], SIZES[-1]))
        if value not in SIZES:
            raise Refused(f"points must be a multiple of {SIZES.step}, not {value}")
        return value

    # --- torch ----------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The scene that is shown."""
        return self.stages[self.scene]

    def request(self) -> Request:
        """What is set now.

        Raises
        ------
        Refused
            If the condition has not as many numbers as the scene's.
        """
        if len(self.condition) != len(self.stage.condition):
            raise Refused(
                f"condition must have {len(self.stage.condition)} numbers, not {self.condition}"
            )
        values = {name: getattr(self, name) for name in ASKED if name != "scene"}
        if self.stage.wall is None:
            values["w_wall"] = 0.0
        shift = self.shift if self.stage.moves else [0.0, 0.0]
        return Request(**{**values, "condition": tuple(self.condition), "shift": tuple(shift)})

    def samples(self) -> np.ndarray:
        """Torch's samples at the present settings, as they are drawn: float32 ``[n, dy]``."""
        found = run(self.stage, self.request()).samples.double().numpy()
        if self.stage.framed:
            found = found - self.stage.origin(self.condition).numpy()
        return found.astype(np.float32)

    @observe(*ASKED, "source")
    def _drive(self, change: Any) -> None:
        """With a kernel: torch's samples for the view, where they are wanted."""
        if self.source == "browser" or len(self.condition) != len(self.stage.condition):
            return
        began = time.perf_counter()
        try:
            numbers = self.samples().tobytes()
        except Refused:
            return  # the view says what is wrong
        settings = {name: getattr(self, name) for name in ASKED}
        ms = 1000 * (time.perf_counter() - began)
        self.torch = {"settings": settings, "numbers": numbers, "points": self.points, "ms": ms}

    # --- the picture ----------------------------------------------------------------------

    def describe(self) -> str:
        try:
            self.request().check()
        except Refused as why:
            return f"Composition widget. {self.stage.title}: no samples, {why}."
        weights = f"weights {self.w_general:g} (general) and {self.w_specialised:g} (specialised)"
        if self.rule == "guidance":
            weights = f"guidance weight {self.guidance:g}"
        if self.request().walled:
            weights += f" and {self.w_wall:g} (a wall at {self.stage.wall_at(self.wall):.2f})"
        if any(self.request().shift):
            weights += f", the specialised law moved by ({self.shift[0]:g}, {self.shift[1]:g})"
        return (
            f"Composition widget. {self.stage.title}: {self.points} samples by "
            f"{RULES[self.rule]}, {weights}, over the outlines of the two models' laws."
        )

    def picture(self) -> Figure:
        panels, title = self.stage.panels, f"{self.stage.title}: {RULES[self.rule]}"
        try:
            samples = self.samples()
        except Refused as why:
            samples, title = np.empty((0, self.stage.process.dy)), f"{self.stage.title}: {why}"
        shift = self.shift if self.stage.moves else [0.0, 0.0]
        width = 4.2 * len(panels)
        figure, line = plt.subplots(1, len(panels), figsize=(width, 3.6), squeeze=False)
        for axes, panel in zip(line[0], panels, strict=True):
            _draw(axes, panel, samples, COLOURS[SAMPLES[self.rule]], shift)
            if self.w_wall and self.stage.wall and self.rule != "guidance" and panel.axes[0] == 0:
                axes.axvline(self.stage.wall_at(self.wall), color="#222222", linewidth=2)
        figure.suptitle(title, fontsize="medium", wrap=True)
        return figure


def _draw(
    axes: Any, panel: Panel, samples: np.ndarray, colour: str, shift: Sequence[float]
) -> None:
    for outline in panel.outlines:
        if outline.role == "truth" and any(shift):
            continue  # the browser draws that of the law that is wanted now
        own = COLOURS.get(outline.role, "#222222")
        by = [shift[k] if k < 2 and outline.role == "specialised" else 0.0 for k in panel.axes]
        rings = [np.array([*line, line[0]]) + by for line in outline.lines]
        for ring in rings:
            style = "--" if outline.role == "truth" else "-"
            axes.plot(ring[:, 0], ring[:, 1], style, color=own, linewidth=1.2)
        if rings:  # one path, so that holes stay free
            inside = Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))
            axes.add_patch(PathPatch(inside, color=own, alpha=outline.fill, linewidth=0))
    if panel.map is not None:
        affine = np.array(panel.map)
        samples = samples @ affine[:, :2].T + affine[:, 2]
    shown = samples[:, list(panel.axes)]
    axes.scatter(shown[:, 0], shown[:, 1], s=6, color=colour, alpha=0.65, linewidths=0)
    axes.set(xlim=panel.x, ylim=panel.y, xlabel=panel.labels[0], ylabel=panel.labels[1])
    axes.set_title(panel.title, fontsize="small")
