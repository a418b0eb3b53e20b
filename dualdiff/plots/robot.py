"""Figures of the robot chapter: its data, the losses, and the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dualdiff.plots import COLOURS, LABELS

UNITS = ("x [workspace units]", "y [workspace units]")


def _pairs(name: str, points: Tensor) -> np.ndarray:
    """Points ``[n, 2]`` as an array, refused in another shape."""
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"{name} must have shape [n >= 1, 2], not {list(points.shape)}")
    array: np.ndarray = points.detach().double().numpy()
    return array


def _cloud(axes: Axes, points: np.ndarray, colour: str, larger: float = 1, **style: Any) -> None:
    """Points, the smaller and paler the more of them there are."""
    n = len(points)
    size = larger * (9 if n < 1000 else 4 if n < 3000 else 2.5)
    look: dict[str, Any] = {"color": colour, "linewidths": 0, "rasterized": True}
    look["alpha"] = float(np.clip(1500 / n, 0.12, 0.7))
    axes.scatter(points[:, 0], points[:, 1], s=size, **look, **style)


def _bounds(points: np.ndarray, pad: float = 0.05) -> dict[str, tuple[float, float]]:
    """Limits of axes that hold all points."""
    low, high = points.min(0), points.max(0)
    room = pad * np.maximum(high - low, 1e-9)
    (x0, y0), (x1, y1) = (low - room).tolist(), (high + room).tolist()
    return {"xlim": (x0, x1), "ylim": (y0, y1)}


def _few_ticks(axes: Axes) -> None:
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=8)


# --- data -------------------------------------------------------------------------------------


def targets_by_type(
    rows: Mapping[str, Tensor], labels: tuple[str, str] = UNITS, *, columns: int = 3
) -> Figure:
    """Targets of every general type, a panel each, on shared axes (Figure 4.4).

    Parameters
    ----------
    rows : mapping of types to Tensor [n, 2]
    labels : (str, str)
        What the two coordinates are.
    columns : int
        Panels in a row.

    Raises
    ------
    ValueError
        If there are no types or a type's targets have another shape.
    """
    if not rows:
        raise ValueError("there are no types to draw")
    clouds = {name: _pairs(name, points) for name, points in rows.items()}
    columns = min(columns, len(clouds))
    lines = -(-len(clouds) // columns)
    figure, grid = plt.subplots(
        lines,
        columns,
        figsize=(2.5 * columns + 0.3, 2.2 * lines + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    limits = _bounds(np.concatenate(list(clouds.values())))
    for axes, (name, points) in zip(grid.flat, clouds.items(), strict=False):
        _cloud(axes, points, COLOURS["general"])
        axes.set(**limits)
        axes.set_title(f"{name}: {len(points):,}", fontsize=9)
        _few_ticks(axes)
    for axes in grid.flat[len(clouds) :]:
        axes.set_visible(False)
    figure.supxlabel(labels[0], fontsize=10)
    figure.supylabel(labels[1], fontsize=10)
    return figure


def train_and_test(
    train: Tensor, test: Tensor, labels: tuple[str, str] = UNITS, *, name: str = "specialised"
) -> Figure:
    """Targets of the specialised training rows beside those of the test rows (Figure 4.5).

    Parameters
    ----------
    train, test : Tensor [n, 2]
    labels : (str, str)
        What the two coordinates are.
    name : str
        What the training rows are called.
    """
    sets = {
        f"{name} training rows": (_pairs("train", train), COLOURS["specialised"]),
        "test rows": (_pairs("test", test), COLOURS["truth"]),
    }
    limits = _bounds(np.concatenate([points for points, _ in sets.values()]))
    figure, line = plt.subplots(1, 2, figsize=(7.4, 3.7), sharex=True, sharey=True)
    for axes, (title, (points, colour)) in zip(line, sets.items(), strict=True):
        _cloud(axes, points, colour)
        axes.set_title(f"{title}: {len(points):,}", fontsize=10)
        axes.set(xlabel=labels[0], **limits)
        _few_ticks(axes)
    line[0].set_ylabel(labels[1])
    return figure


def principal_components(
    train: Tensor,
    test: Tensor,
    shares: Sequence[float],
    names: tuple[str, str] = ("specialised training rows", "test rows"),
) -> Figure:
    """Conditions of two sets on the first two principal components (Figure 4.8).

    Parameters
    ----------
    train, test : Tensor [n, 2]
        Rows on the two components.
    shares : two numbers
        Of the variance that the components explain.
    names : (str, str)
        What the two sets are called.

    Raises
    ------
    ValueError
        If there are not two shares between 0 and 1, or points have another shape.
    """
    if len(shares) != 2 or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"shares must be two numbers from 0 to 1, not {list(shares)}")
    figure, axes = plt.subplots(figsize=(6.4, 4.8))
    several = (("test", test, "#7F8B98", 1.8), ("train", train, COLOURS["specialised"], 1.5))
    for (name, points, colour, larger), label in zip(several, names[::-1], strict=True):
        own = _pairs(name, points)
        _cloud(axes, own, colour, larger, label=f"{label}: {len(own):,}")
    # The few lie on the many, of which only the outline matters.
    axes.collections[0].set_alpha(0.35)
    axes.collections[1].set(alpha=0.9, edgecolor="white", linewidth=0.4)
    x, y = (f"PC {k} ({100 * share:.0f} % of the variance)" for k, share in enumerate(shares, 1))
    axes.set(xlabel=x, ylabel=y)
    legend = figure.legend(loc="outside lower center", ncols=2, markerscale=2)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


# --- training and samples ---------------------------------------------------------------------


def losses(curves: Mapping[str, Tensor], *, every: int = 1, bins: int = 120) -> Figure:
    """Training losses against steps, both logarithmic: pale as recorded, full their means (4.6).

    Parameters
    ----------
    curves : mapping of configurations to Tensor [n]
    every : int
        Steps from one recorded loss to the next.
    bins : int
        Pieces of the axis, equally long in the logarithm, over which means are taken.

    Raises
    ------
    ValueError
        If a curve has another shape or a loss that is not positive.
    """
    figure, axes = plt.subplots(figsize=(7.2, 3.8))
    for name, curve in curves.items():
        values = curve.detach().double().numpy()
        if values.ndim != 1 or not (values > 0).all():
            raise ValueError(f"losses of {name} must be positive and of shape [n]")
        steps = every * np.arange(1, len(values) + 1)
        pale: dict[str, Any] = {"lw": 0.5, "alpha": 0.25, "rasterized": True, "zorder": 1}
        axes.plot(steps, values, color=COLOURS[name], **pale)
        edges = np.geomspace(1, len(values) + 1, bins + 1)
        piece = np.digitize(np.arange(1, len(values) + 1), edges)
        means = pd.DataFrame({"step": steps, "loss": values}).groupby(piece).mean()
        axes.plot(means["step"], means["loss"], color=COLOURS[name], label=LABELS[name], lw=1.8)
    axes.set(xscale="log", yscale="log", xlabel="training step", ylabel="training loss")
    figure.legend(loc="outside lower center", ncols=min(5, max(1, len(curves))))
    return figure


def samples_over_test(
    samples: Mapping[str, Tensor],
    truth: Tensor,
    labels: tuple[str, str] = UNITS,
    *,
    columns: int = 3,
) -> Figure:
    """Samples over the test conditions, a panel per configuration after the truth's (Figure 4.7).

    Axes hold the truth; a panel says how many of its samples lie beyond them.

    Parameters
    ----------
    samples : mapping of configurations to Tensor [n, 2]
    truth : Tensor [n, 2]
    labels : (str, str)
        What the two coordinates are.
    columns : int
        Panels in a row.
    """
    clouds = {"truth": _pairs("truth", truth)}
    clouds |= {name: _pairs(name, points) for name, points in samples.items()}
    limits = _bounds(clouds["truth"], 0.12)
    columns = min(columns, len(clouds))
    lines = -(-len(clouds) // columns)
    size = (2.5 * columns + 0.3, 2.3 * lines + 0.4)
    style: dict[str, Any] = {"sharex": True, "sharey": True, "squeeze": False}
    figure, grid = plt.subplots(lines, columns, figsize=size, **style)
    for axes, (name, points) in zip(grid.flat, clouds.items(), strict=False):
        _cloud(axes, points, COLOURS[name])
        axes.set(**limits)
        low, high = np.array([limits["xlim"], limits["ylim"]]).T
        beyond = int((~((points >= low) & (points <= high)).all(1)).sum())
        axes.set_title(LABELS[name], fontsize=10)
        if beyond:
            note: dict[str, Any] = {
                "ha": "right",
                "va": "bottom",
                "fontsize": 8,
                "color": "#666666",
            }
            axes.set_title(f"{beyond:,} outside", loc="right", fontweight="normal", **note)
        _few_ticks(axes)
    for axes in grid.flat[len(clouds) :]:
        axes.set_visible(False)
    figure.supxlabel(labels[0], fontsize=10)
    figure.supylabel(labels[1], fontsize=10)
    return figure
