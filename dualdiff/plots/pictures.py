"""Rows of small pictures, so that columns compare."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor


def gallery(rows: Mapping[str, Tensor], side: int = 8, width: float = 7.2) -> Figure:
    """A row of pictures under each name.

    Parameters
    ----------
    rows : mapping of names to Tensor [n, side * side]
        From -1 (paper) to 1 (ink), the same n in every row.
    side : int
    width : float
        Of the figure, inches.

    Raises
    ------
    ValueError
        For no rows, and rows of different lengths.
    """
    counts = {len(images) for images in rows.values()}
    if len(counts) != 1:
        raise ValueError(f"rows must be several and as long as one another, not of {counts}")
    (n,) = counts
    height = 0.86 * width / n * len(rows)
    figure, axes = plt.subplots(len(rows), 1, figsize=(width, height), squeeze=False)
    gap = 1
    for place, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        strip = torch.full((side, n * (side + gap) - gap), float("nan"))
        for k, image in enumerate(images.detach().clamp(-1, 1)):
            left = k * (side + gap)
            strip[:, left : left + side] = image.view(side, side)
        place.imshow(strip.numpy(), cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
        place.set_yticks([(side - 1) / 2], [name])
        place.set_xticks([])
        place.tick_params(length=0)
        place.grid(False)
        for spine in place.spines.values():
            spine.set_visible(False)
    return figure


def svg(strokes: Tensor, size: int = 64) -> str:
    """A row of drawings as scalable vector graphics, each ``size`` pixels wide.

    Parameters
    ----------
    strokes : Tensor [n, k, 7]
        Quadratic Bezier curves: three control points in [-1, 1] (x, y each) and the logarithm of
        the half-width, as of :func:`dualdiff.images.strokes.rendered`.
    size : int
    """
    parts, wide = [], size * len(strokes)
    for place, drawing in enumerate(strokes.tolist()):
        for *points, width in drawing:
            x0, y0, x1, y1, x2, y2 = (f"{p:.3f}" for p in points)
            line = f'd="M {x0} {y0} Q {x1} {y1} {x2} {y2}" stroke-width="{2 * math.exp(width):.3f}"'
            parts.append(f'<path transform="translate({2 * place} 0)" {line}/>')
    box = f'viewBox="-1 -1 {2 * len(strokes)} 2" width="{wide}" height="{size}"'
    paper = '<rect x="-1" y="-1" width="100%" height="100%" fill="white"/>'
    look = '<g fill="none" stroke="black" stroke-linecap="round">'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{paper}{look}'
    return f"{head}{''.join(parts)}</g></svg>"
