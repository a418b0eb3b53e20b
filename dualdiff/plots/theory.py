"""Figures of the theory chapter: noised densities, scores, paths, and where a plain sum errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator, PercentFormatter
from torch import Tensor

from dualdiff.plots import COLOURS, LABELS

SHADE = "Greys"
NOISED_PRODUCT = {"color": COLOURS["truth"], "label": "noised product (needed)"}
PRODUCT_OF_NOISED = {
    "color": COLOURS["joint"],
    "linestyle": "--",
    "label": "product of noised (what the sum describes)",
}


def _time_colours(count: int) -> list[Any]:
    """Colours from little noise (dark) to much noise (light)."""
    return list(plt.get_cmap("viridis")(np.linspace(0.0, 0.85, count)))


def _interval(axes: Axes, low: float, high: float, label: str | None = None) -> None:
    """Mark the support on a vertical axis."""
    for edge in (low, high):
        axes.axhline(edge, color="black", linewidth=0.9, linestyle=":", label=label)
        label = None


def noising_figure(
    alpha_bar: Tensor, y: Tensor, timesteps: Sequence[int], densities: Mapping[str, Tensor]
) -> Figure:
    """The schedule, and the densities of one coordinate at several steps of the forward process.

    Parameters
    ----------
    alpha_bar : Tensor [T]
    y : Tensor [m]
        Values of the coordinate, standardised units.
    timesteps : sequence of k ints
    densities : mapping of members to Tensor [k, m]
        Noised densities; one panel per member.
    """
    figure, axes = plt.subplots(1, 1 + len(densities), figsize=(3.2 * (1 + len(densities)), 3.2))
    axes[0].plot(alpha_bar.sqrt(), color="black", label=r"signal $\sqrt{\bar\alpha_t}$")
    axes[0].plot((1 - alpha_bar).sqrt(), color="black", ls="--", label=r"noise $\sigma_t$")
    axes[0].set(xlabel="timestep t", ylabel="factor", title="schedule")
    axes[0].legend()
    colours = _time_colours(len(timesteps))
    for panel, (name, rows) in zip(axes[1:], densities.items(), strict=True):
        for t, row, colour in zip(timesteps, rows, colours, strict=True):
            panel.plot(y, row, color=colour, label=f"t = {t}")
        panel.set(xlabel="$y_t$ (standardised units)", ylabel="density", title=LABELS[name])
    axes[-1].legend()
    return figure


def noise_figure(y_t: Tensor, eps: Tensor, y: Tensor, prediction: Tensor, bins: int = 24) -> Figure:
    """The noise that was added against the noised value, its bin means, and the exact denoiser.

    Parameters
    ----------
    y_t, eps : Tensor [n]
        Noised values and the noise in them; at most 1,500 points are drawn, all are averaged.
    y, prediction : Tensor [m]
        The denoiser's prediction along a grid.
    bins : int
        Bins of equal numbers of points; bars are 95 % intervals of the mean.
    """
    figure, axes = plt.subplots(figsize=(6.2, 3.6))
    axes.scatter(
        y_t[:1500],
        eps[:1500],
        s=4,
        alpha=0.3,
        color="#888888",
        lw=0,
        label="pairs",
    )
    order = np.argsort(y_t.numpy())
    groups = np.array_split(order, bins)
    centres = [float(y_t.numpy()[g].mean()) for g in groups]
    means = [float(eps.numpy()[g].mean()) for g in groups]
    errors = [1.96 * float(eps.numpy()[g].std(ddof=1)) / np.sqrt(len(g)) for g in groups]
    axes.errorbar(centres, means, errors, fmt="o", ms=4, color="black", label="mean noise in a bin")
    axes.plot(y, prediction, color=COLOURS["specialised"], label="exact denoiser", zorder=3)
    axes.set(xlabel="$y_t$ (standardised units)", ylabel=r"noise $\varepsilon$ (unit variance)")
    axes.legend()
    return figure


def score_figure(
    x: Tensor,
    log_densities: Mapping[str, Tensor],
    points: Tensor,
    arrows: Mapping[str, Tensor],
    boxes: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Figure:
    """Noised densities in the plane (shaded) with their scores as arrows, one panel per member.

    Parameters
    ----------
    x : Tensor [m]
        Grid of both coordinates.
    log_densities : mapping of members to Tensor [m, m]
        First index along the first coordinate; shaded relative to the peak.
    points : Tensor [k, 2]
        Where the arrows stand.
    arrows : mapping of members to Tensor [k, 2]
        All panels use one scale.
    boxes : mapping of names to corners ``(low, high)``
        Supports, already shrunk by the signal factor; drawn in every panel.
    """
    figure, grid = plt.subplots(
        1, len(arrows), figsize=(3.1 * len(arrows), 3.4), sharex=True, sharey=True, squeeze=False
    )
    for axes, (name, arrow) in zip(grid[0], arrows.items(), strict=True):
        log_p = log_densities[name]
        relative = (log_p - log_p.max()).exp().T
        axes.pcolormesh(x.numpy(), x.numpy(), relative.numpy(), cmap=SHADE, vmin=0, vmax=1.6)
        _outlines(axes, boxes)
        axes.quiver(
            *points.T,
            *arrow.T,
            color=COLOURS[name],
            angles="xy",
            scale_units="xy",
            scale=12.0,
            width=0.006,
        )
        axes.set(xlabel="$y_{t,1}$ (standardised units)", title=LABELS[name], aspect="equal")
        axes.grid(False)
    grid[0, 0].set_ylabel("$y_{t,2}$ (standardised units)")
    return figure


def _outlines(axes: Axes, boxes: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    for name, (low, high) in boxes.items():
        style: dict[str, Any] = {
            "edgecolor": COLOURS[name],
            "linestyle": "--" if name == "general" else "-",
        }
        width, height = high[0] - low[0], high[1] - low[1]
        axes.add_patch(
            Rectangle((low[0], low[1]), width, height, fill=False, lw=1.5, zorder=2, **style)
        )


def path_figure(
    paths: Mapping[str, Tensor],
    boxes: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    drawn: int = 3,
) -> Figure:
    """Reverse paths in the plane: starts (crosses), ways and samples (dots), one panel per member.

    Parameters
    ----------
    paths : mapping of members to Tensor [S + 1, n, 2]
        States from noise to data.
    boxes : mapping of names to corners ``(low, high)``
    drawn : int
        Chains whose way is drawn; of the others only the sample is.
    """
    figure, grid = plt.subplots(
        1, len(paths), figsize=(3.1 * len(paths), 3.4), sharex=True, sharey=True, squeeze=False
    )
    for axes, (name, states) in zip(grid[0], paths.items(), strict=True):
        some = states[:, :drawn]
        axes.plot(some[..., 0], some[..., 1], color=COLOURS[name], lw=0.8, alpha=0.8)
        axes.plot(*some[0].T, "x", color="black", ms=6, zorder=3)
        axes.plot(*states[-1].T, "o", color="black", ms=2, mew=0, alpha=0.6, zorder=3)
        _outlines(axes, boxes)
        axes.set(xlabel="$y_{t,1}$ (standardised units)", title=LABELS[name], aspect="equal")
    grid[0, 0].set_ylabel("$y_{t,2}$ (standardised units)")
    return figure


def trajectory_figure(
    timesteps: Sequence[int],
    panels: Mapping[str, tuple[str, Tensor]],
    y: Tensor,
    log_density: Tensor,
    support: tuple[float, float],
) -> Figure:
    """One coordinate of reverse chains over time, on the density they should follow.

    Parameters
    ----------
    timesteps : sequence of S + 1 ints
        From T - 1 to -1 (clean), as :func:`dualdiff.samplers.trajectory` gives them.
    panels : mapping of titles to ``(member, states [S + 1, n])``
        The member gives the colour.
    y : Tensor [m]
        Grid of the coordinate.
    log_density : Tensor [S, m]
        Noised target densities at all but the last state; shaded relative to each step's peak.
    support : (low, high)
        Of the clean data, dotted.
    """
    figure, grid = plt.subplots(
        1, len(panels), figsize=(4.4 * len(panels), 3.4), sharey=True, squeeze=False
    )
    relative = (log_density - log_density.max(1, keepdim=True).values).exp()
    for axes, (title, (member, states)) in zip(grid[0], panels.items(), strict=True):
        axes.pcolormesh(timesteps[:-1], y.numpy(), relative.T.numpy(), cmap=SHADE, vmin=0, vmax=2.2)
        axes.plot(timesteps, states, color=COLOURS[member], lw=0.8, alpha=0.85)
        _interval(axes, *support)
        axes.set(xlabel="timestep t (noise to data)", title=title)
        axes.set_xlim(timesteps[0], timesteps[-1])
        axes.set_ylim(float(y[0]), float(y[-1]))
        axes.grid(False)
    grid[0, 0].set_ylabel("$y_t$ (standardised units)")
    return figure


def moment_figure(
    timesteps: Sequence[int], panels: Mapping[str, tuple[Tensor, Tensor, Tensor]]
) -> Figure:
    """Moments along the reverse chain: what is needed, what the sum describes, what comes out.

    Parameters
    ----------
    timesteps : sequence of S + 1 ints
        From T - 1 to -1 (clean).
    panels : mapping of titles to three Tensors [S + 1]
        Moment of the noised product, of the product of the noised densities, and of the samples.
    """
    figure, grid = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3.8), squeeze=False)
    for axes, (title, (needed, described, sampled)) in zip(grid[0], panels.items(), strict=True):
        axes.plot(timesteps, needed, **NOISED_PRODUCT)
        axes.plot(timesteps, described, **PRODUCT_OF_NOISED)
        axes.plot(
            timesteps, sampled, "o", color=COLOURS["joint"], ms=3, markevery=5, label="DDPM samples"
        )
        axes.set(xlabel="timestep t (noise to data)", title=title)
        axes.set_xlim(timesteps[0] + 2, timesteps[-1] - 2)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    grid[0, 0].set_ylabel("moment of $y_t$ (standardised units)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def product_figure(
    y: Tensor,
    timesteps: Sequence[int],
    noised_product: Tensor,
    product_of_noised: Tensor,
    support: tuple[float, float],
) -> Figure:
    """The two densities that a plain sum confuses, at several steps.

    Parameters
    ----------
    y : Tensor [m]
    timesteps : sequence of k ints
        One panel each, from much noise to little.
    noised_product, product_of_noised : Tensor [k, m]
        Normalised densities.
    support : (low, high)
        Of the clean product, shaded.
    """
    figure, grid = plt.subplots(
        1, len(timesteps), figsize=(2.45 * len(timesteps), 3.3), sharex=True, squeeze=False
    )
    for axes, t, needed, described in zip(
        grid[0], timesteps, noised_product, product_of_noised, strict=True
    ):
        axes.axvspan(*support, color="#eeeeee", lw=0)
        axes.plot(y, needed, **NOISED_PRODUCT)
        axes.plot(y, described, **PRODUCT_OF_NOISED)
        axes.set(xlabel="$y_t$ (standardised units)", title=f"t = {t}")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MultipleLocator(1))
    grid[0, 0].set_ylabel("density")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def histogram_figure(
    panels: Mapping[str, tuple[Mapping[str, Tensor], tuple[float, float]]],
    xlabel: str,
    bins: int = 20,
) -> Figure:
    """Histograms of one coordinate against the uniform truth, one panel each.

    Parameters
    ----------
    panels : mapping of titles to ``(samples by member, support)``
        Samples are Tensors [n] in the units of the support ``(low, high)``; bars are densities
        times the width of the support, so that the truth is 1 in every panel.
    xlabel : str
    bins : int
        Over the support widened by a tenth on both sides, where misses would show.
    """
    figure, grid = plt.subplots(
        1, len(panels), figsize=(max(2.45 * len(panels), 6.0), 3.3), sharey=True, squeeze=False
    )
    for axes, (title, (samples, (low, high))) in zip(grid[0], panels.items(), strict=True):
        width = high - low
        step = width / bins
        edges = np.linspace(low - 2 * step, high + 2 * step, bins + 5)
        for name, values in samples.items():
            share = np.histogram(values.numpy(), edges)[0] / len(values) * width / step
            axes.stairs(share, edges, color=COLOURS[name], lw=1.6, label=LABELS[name])
        axes.plot(
            [low, low, high, high], [0, 1, 1, 0], color=COLOURS["truth"], ls=":", label="truth"
        )
        axes.set(xlabel=xlabel, title=title)
    grid[0, 0].set_ylabel("density relative to the truth")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def occupancy_figure(
    shares: Mapping[str, Tensor], low: Sequence[float], high: Sequence[float]
) -> Figure:
    """Share of samples in each cell from above, relative to the truth; one panel per member.

    Parameters
    ----------
    shares : mapping of members to Tensor [k, k]
        Share of all samples, first index along the first coordinate; the truth is 1 / k^2.
    low, high : corners of the box
        Offsets from the condition, units of y.
    """
    figure, grid = plt.subplots(
        1, len(shares), figsize=(3.7 * len(shares) + 0.8, 3.7), sharey=True, squeeze=False
    )
    for axes, (name, share) in zip(grid[0], shares.items(), strict=True):
        ratio = share.numpy() * share.numel()
        extent = (low[0], high[0], low[1], high[1])
        image = axes.imshow(
            ratio.T, origin="lower", extent=extent, cmap="PuOr", vmin=0, vmax=2, aspect="equal"
        )
        centres = (np.arange(len(ratio)) + 0.5) / len(ratio)
        for (i, j), value in np.ndenumerate(ratio):
            x, y = (low[k] + (high[k] - low[k]) * centres[n] for k, n in enumerate((i, j)))
            colour = "white" if value > 1.5 or value < 0.2 else "black"
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", size=8, color=colour)
        axes.set(xlabel="$y_1 - c_1$ (units of y)", title=LABELS[name])
        axes.grid(False)
    grid[0, 0].set_ylabel("$y_2 - c_2$ (units of y)")
    figure.colorbar(image, ax=grid[0].tolist(), label="share of samples / truth", shrink=0.85)
    return figure


def variation_figure(table: pd.DataFrame, floor: float) -> Figure:
    """Accuracy and total variation of several samplers, one row each.

    Parameters
    ----------
    table : DataFrame
        Indexed by label; columns ``accuracy``, ``tv``, ``low``, ``high`` (95 % interval of TV) and
        ``member``, which gives the colour.
    floor : float
        Expected TV of perfect samples of the same number.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 0.32 * len(table) + 1.2), sharey=True, width_ratios=(1, 2)
    )
    rows = range(len(table))
    for row, (_, entry) in zip(rows, table.iterrows(), strict=True):
        colour = COLOURS[entry["member"]]
        left.plot(entry["accuracy"], row, "o", color=colour)
        right.plot([entry["low"], entry["high"]], [row, row], color=colour)
        right.plot(entry["tv"], row, "o", color=colour)
    right.axvline(floor, color=COLOURS["truth"], ls=":", label="floor of perfect samples")
    left.set(xlim=(0, 1.05), xlabel="accuracy", yticks=list(rows), yticklabels=table.index)
    left.xaxis.set_major_formatter(PercentFormatter(1.0))
    left.invert_yaxis()
    right.set(xlim=(0, 1.05), xlabel="total variation to the truth")
    right.legend(loc="best")
    return figure
