"""Figures of the chapter on learned weights: plane, front, ratios, curves, ablation, AMDM."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dualdiff.plots import COLOURS, LABELS, MARKERS
from dualdiff.process import Process
from dualdiff.report_ablations import ALONE_OR_JOINT, BASE, amdm_values, changes, deviations
from dualdiff.report_curves import log_snr
from dualdiff.report_plane import plane
from dualdiff.report_targets import TARGETS
from dualdiff.report_weights import PLACES, WAYS, WORLDS, present, scores, title, weights
from dualdiff.scenes import SCENES
from dualdiff.weighting import NAMES

CHOICES = {"stacked": "#999933", "learned": "#332288", "oracle": COLOURS["truth"]}
"""Colours of what is no configuration (Tol's palette); the oracle sees the truth and has its."""
INTERPOLATED = {
    "spherical": ("#332288", "o"),
    "linear": ("#999933", "^"),
    "variance_preserving": ("#AA4499", "s"),
}
LOOKS: dict[str, tuple[str, str]] = {
    "stacked": (CHOICES["stacked"], "v"),
    "learned constant": (CHOICES["learned"], "o"),
    "learned curve": (CHOICES["learned"], "P"),
    "oracle constant": (COLOURS["truth"], "x"),
    "oracle curve": (COLOURS["truth"], "+"),
    "finetuned: learned constant": (COLOURS["finetuned"], "o"),
    "finetuned: learned smc": (COLOURS["finetuned"], "s"),
    "finetuned: oracle smc": (COLOURS["truth"], "1"),
}
"""Colour and marker of every way to choose weights."""
TITLES = {"accuracy": "accuracy", "total_variation": "total variation"}


def _constants(table: pd.DataFrame, scenario: str, way: str) -> np.ndarray:
    """Constants ``[seeds, 2]`` of a way: general, specialised."""
    found = weights(table, scenario, way)
    constants: np.ndarray = found.drop_duplicates("seed")[list(NAMES)].to_numpy()
    return constants


def plane_figure(table: pd.DataFrame, ways: pd.DataFrame, scenario: str) -> Figure:
    """Accuracy and total variation over the weight plane, a row per recipe, numbers in the cells.

    Marks on recipe ``tuned``: constants learned (dot) and the oracle's (cross), one per seed.
    """
    recipes = list(dict.fromkeys(table["recipe"]))
    size = (8.4, 0.4 + 3.7 * len(recipes))
    figure, grid = plt.subplots(len(recipes), 2, figsize=size, squeeze=False)
    for line, recipe in zip(grid, recipes, strict=True):
        points = plane(table, scenario, recipe)
        for axes, metric in zip(line, TITLES, strict=True):
            wide = points.pivot(index="specialised", columns="general", values=metric)
            axes.imshow(wide, origin="lower", vmin=0, vmax=1, aspect="auto")
            for (row, column), value in np.ndenumerate(wide.to_numpy()):
                if not np.isnan(value):
                    # cividis goes from dark to light
                    ink = "black" if value > 0.55 else "white"
                    text = f"{value:.3f}".removeprefix("0") if value < 1 else "1.00"
                    # in the upper part of the cell: marks are on the pairs of weights themselves
                    axes.text(column, row + 0.26, text, ha="center", va="center", color=ink, size=8)
            axes.set_xticks(range(wide.shape[1]), [f"{w:g}" for w in wide.columns])
            axes.set_yticks(range(wide.shape[0]), [f"{w:g}" for w in wide.index])
            axes.grid(False)
            axes.set(xlabel="$w_g$, general", ylabel="$w_s$, specialised")
            axes.set_title(f"{WORLDS[scenario]}, {recipe}: {TITLES[metric]}")
            if recipe == BASE and len(ways):
                _mark(axes, wide, ways, scenario)
    return figure


def _mark(axes: Axes, wide: pd.DataFrame, ways: pd.DataFrame, scenario: str) -> None:
    """Learned and oracle constants, between the cells where they lie between the weights."""
    looks: dict[str, dict[str, Any]] = {
        "learned constant": {"marker": "o", "ms": 9, "mec": COLOURS["truth"], "color": "white"},
        "oracle constant": {"marker": "X", "ms": 7, "mec": "white", "color": COLOURS["truth"]},
    }
    for way, look in looks.items():
        for general, specialised in _constants(ways, scenario, way):
            x = np.interp(general, wide.columns, range(wide.shape[1]))
            y = np.interp(specialised, wide.index, range(wide.shape[0]))
            axes.plot(x, y, ls="none", mew=1.2, zorder=3, **look)


def frontier_figure(table: pd.DataFrame, ways: pd.DataFrame) -> Figure:
    """Accuracy against total variation: the plane, its front, named rules, learned weights.

    A row per scenario of recipe ``tuned``: all of it, and the corner of the targets (dotted; grey:
    the floor of total variation). Plane and ways must be of one source; of the ways, the seeds that
    the plane has are shown: the same networks at the same conditions.
    """
    scenarios = present(table)
    ways = ways[ways["seed"].isin(table["seed"].unique())]
    figure, grid = plt.subplots(
        len(scenarios), 2, figsize=(9.4, 1.0 + 3.6 * len(scenarios)), squeeze=False
    )
    for line, scenario in zip(grid, scenarios, strict=True):
        points = plane(table, scenario)
        found = scores(ways, scenario) if scenario in present(ways) else pd.DataFrame()
        for axes in line:
            _front(axes, points, scores_of_ways=found)
            accuracy, variation = TARGETS[scenario]
            axes.axhline(accuracy, color=COLOURS["truth"], ls=":", lw=1)
            axes.axvline(variation, color=COLOURS["truth"], ls=":", lw=1)
            floor = points["total_variation_floor"].iloc[0]
            axes.axvline(floor, color="#bbbbbb", lw=1, label="floor of TV")
            axes.set(xlabel="total variation", ylabel="accuracy")
        line[0].set(title=WORLDS[scenario], xlim=(0, 1.02), ylim=(0, 1.03))
        low = min(variation, points["total_variation"].min())
        line[1].set(title=f"{WORLDS[scenario]}, corner", xlim=(low - 0.03, low + 0.32))
        line[1].set(ylim=(0.78, 1.005))
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= {str(line.get_label()): line for line in axes.lines}
    named = {label: line for label, line in handles.items() if not label.startswith("_")}
    figure.legend(handles=list(named.values()), loc="outside lower center", ncols=4)
    return figure


def _front(axes: Axes, points: pd.DataFrame, scores_of_ways: pd.DataFrame) -> None:
    """The plane's points, its front, the named rules and the ways to choose."""
    best = points[points["front"]].sort_values("total_variation")
    across, up = "total_variation", "accuracy"
    axes.plot(points[across], points[up], ".", color="#999999", label="constant weights")
    style: dict[str, Any] = {"lw": 1, "drawstyle": "steps-post", "label": "front of these"}
    axes.plot(best[across], best[up], color=COLOURS["truth"], **style)
    for rule, (general, specialised) in PLACES.items():
        here = points[(points["general"] == general) & (points["specialised"] == specialised)]
        look: dict[str, Any] = {"marker": MARKERS[rule], "color": COLOURS[rule], "mfc": "white"}
        axes.plot(here[across], here[up], ls="", ms=9, mew=2, label=title(rule), **look)
    for way in [w for w in WAYS if w in scores_of_ways.index]:
        colour, marker = LOOKS[way]
        row = scores_of_ways.loc[way]
        look = {"marker": marker, "color": colour, "ms": 8, "mew": 2}
        axes.plot(row[across], row[up], ls="", label=title(way), **look)


def ratio_figure(found: pd.DataFrame) -> Figure:
    """Total variation of learned weights beside the oracle's, in every scenario and setting.

    ``found`` is the table of :func:`dualdiff.report_weights.ratios`; where it has the specialised
    model alone, that has a mark too.
    """
    figure, axes = plt.subplots(figsize=(8.6, 3.8))
    names = list(dict.fromkeys(found["scenario"]))
    shapes = {"constant": -0.2, "curve": 0.0, "finetuned: smc": 0.2}
    looks: dict[str, tuple[str, str]] = {}
    for shape in shapes:
        method, _, kind = shape.rpartition(": ")
        looks[shape] = LOOKS[f"{method}: learned {kind}" if method else f"learned {kind}"]
    for _, row in found.iterrows():
        x, (colour, marker) = (
            names.index(row["scenario"]) + shapes[row["shape"]],
            looks[row["shape"]],
        )
        axes.plot([x, x], [row["oracle"], 1.1 * row["oracle"]], color="#bbbbbb", lw=7, zorder=1)
        axes.plot(x, row["oracle"], ls="", marker="x", color=COLOURS["truth"], mew=2)
        axes.plot(x, row["learned"], ls="", marker=marker, color=colour)
    alone: dict[str, Any] = {"marker": MARKERS["specialised"], "color": COLOURS["specialised"]}
    alone |= {"ls": "", "mfc": "none", "mew": 1.5}
    for name, value in found.dropna(subset="alone").groupby("scenario")["alone"].first().items():
        axes.plot(names.index(str(name)) - 0.38, value, **alone)
    for shape, (colour, marker) in looks.items():
        if shape in set(found["shape"]):
            axes.plot([], [], ls="", marker=marker, color=colour, label=f"learned, {title(shape)}")
    axes.plot([], [], ls="", marker="x", color=COLOURS["truth"], mew=2, label="oracle")
    axes.plot([], [], color="#bbbbbb", lw=7, label="oracle to 10 % above")
    axes.plot([], [], label=title("specialised"), **alone)
    axes.set_xticks(range(len(names)), [WORLDS[name].replace(" ", "\n", 1) for name in names])
    highest = 1.1 * found[["learned", "oracle"]].to_numpy().max()
    axes.set(ylabel="total variation", ylim=(0, 1.05 * highest), xlim=(-0.6, len(names) - 0.4))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def curves_figure(table: pd.DataFrame, process: Process) -> Figure:
    """Weights against the log signal-to-noise ratio: thin lines are seeds, thick ones their mean.

    A row per scenario; columns: stacked, learned and oracle curves. Dotted: constants of the same
    choice, means over seeds.
    """
    scenarios, known = present(table), set(table["configuration"])
    ways = [way for way in ("stacked", "learned curve", "oracle curve") if way in known]
    figure, grid = plt.subplots(
        len(scenarios),
        len(ways),
        figsize=(3.4 * len(ways), 0.6 + 2.7 * len(scenarios)),
        squeeze=False,
        sharey="row",
    )
    for line, scenario in zip(grid, scenarios, strict=True):
        for axes, way in zip(line, ways, strict=True):
            found = weights(table, scenario, way)
            constants = _constants(table, scenario, way.replace("curve", "constant"))
            for place, name in enumerate(NAMES):
                style = {"color": COLOURS[name]}
                for _, own in found.groupby("seed"):
                    axes.plot(log_snr(process, own["t"]), own[name], lw=0.7, alpha=0.7, **style)
                mean = found.groupby("t")[name].mean()
                axes.plot(log_snr(process, mean.index), mean, lw=2.2, label=LABELS[name], **style)
                if way != "stacked" and len(constants):
                    axes.axhline(constants[:, place].mean(), ls=":", lw=1.2, **style)
            axes.set_title(f"{WORLDS[scenario]}, {way}")
            axes.set_xlabel("log SNR (noisy to clean)")
        line[0].set_ylabel("weight")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    handles.append(Line2D([], [], color="#777777", ls=":"))
    figure.legend(handles, [*labels, "constant"], loc="outside lower center", ncols=3)
    return figure


def ablation_figure(table: pd.DataFrame) -> Figure:
    """What one change adds to the total variation of recipe ``tuned``, by scenario and model.

    A mark per training seed, paired with the same seed of the recipe; a bar joins the seeds.
    """
    found, scenarios = changes(table), present(table)
    figure, grid = plt.subplots(
        len(scenarios),
        len(ALONE_OR_JOINT),
        figsize=(9.4, 0.4 + 3.0 * len(scenarios)),
        squeeze=False,
        sharey=True,
        sharex="row",
    )
    recipes = list(dict.fromkeys(found["recipe"]))
    for line, scenario in zip(grid, scenarios, strict=True):
        for axes, name in zip(line, ALONE_OR_JOINT, strict=True):
            own = found[(found["scenario"] == scenario) & (found["configuration"] == name)]
            axes.axvline(0, color="#999999", lw=1)
            for place, each in enumerate(own.set_index("recipe").loc[recipes, "seeds"]):
                axes.plot([min(each), max(each)], [place] * 2, color=COLOURS[name], lw=1, zorder=1)
                look: dict[str, Any] = {"color": COLOURS[name], "marker": MARKERS[name], "ms": 5}
                axes.plot(each, [place] * len(each), ls="", **look)
            axes.set_yticks(range(len(recipes)), recipes)
            axes.set_title(f"{WORLDS[scenario]}, {LABELS[name]}")
        for axes in line:
            axes.set_xlabel(f"change of TV against {BASE}")
    grid[0, 0].invert_yaxis()  # which all panels share
    return figure


def amdm_figure(table: pd.DataFrame) -> Figure:
    """AMDM: scores against aggregation steps by interpolation, and against the deviation step.

    Rows: accuracy and total variation; columns: the scenes, then deviation.
    """
    scenes = list(dict.fromkeys(table["scene"]))
    figure, grid = plt.subplots(2, len(scenes) + 1, figsize=(9.4, 5.8), sharey=True)
    for line, metric in zip(grid, TITLES, strict=True):
        for axes, scene in zip(line, scenes, strict=False):
            by = amdm_values(table, scene, metric)
            for kind, (colour, marker) in INTERPOLATED.items():
                own, label = by[kind], kind.replace("_", " ")
                axes.plot(own.index, own, color=colour, marker=marker, ms=4, label=label)
            axes.set(xlabel="aggregation steps s of 100", title=SCENES[scene]().title)
        for scene, marker in zip(scenes, "so", strict=False):
            tried, rows = deviations(table, scene, metric)
            places = np.arange(len(rows))
            style = {"marker": marker, "ms": 5, "color": COLOURS["truth"]}
            filled = "full" if marker == "s" else "none"
            line[-1].plot(
                places, rows["value"], fillstyle=filled, label=SCENES[scene]().title, **style
            )
            line[-1].set_xticks(places, [f"{rho:g}" for rho in rows.index])
            line[-1].set(xlabel=r"deviation step $\rho$", title=f"spherical, s = {tried}")
        line[0].set(ylabel=TITLES[metric], ylim=(0, 1.03))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    more, names = grid[0, -1].get_legend_handles_labels()
    figure.legend([*handles, *more], [*labels, *names], loc="outside lower center", ncols=5)
    return figure
