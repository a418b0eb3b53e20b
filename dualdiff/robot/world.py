r"""Planar geometry in batches: points, segments and rotated rectangles.

A rectangle is five numbers ``(x, y, w, h, yaw)``: a corner, the two sides, and the angle in
radians by which its axes are turned counter-clockwise about that corner,

.. math:: \{(x, y) + R(\mathrm{yaw})\,(u, v) : 0 \le u \le w,\; 0 \le v \le h\}.

All sets are closed, so touching counts as meeting. Leading dimensions broadcast, lengths are in the
units of the workspace, and a side may be zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOUCH = 1e-9
"""Rounding that still counts as touching, in units of length."""


def rotated(vectors: Tensor, angle: Tensor) -> Tensor:
    """``vectors [..., 2]`` turned counter-clockwise by ``angle [...]`` radians."""
    cos, sin = angle.cos(), angle.sin()
    x, y = vectors.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


def to_local(points: Tensor, rectangles: Tensor) -> Tensor:
    """Points ``[..., 2]`` in the axes of rectangles ``[..., 5]``, from their corner."""
    return rotated(points - rectangles[..., :2], -rectangles[..., 4])


def to_world(local: Tensor, rectangles: Tensor) -> Tensor:
    """The inverse of :func:`to_local`."""
    return rectangles[..., :2] + rotated(local, rectangles[..., 4])


def corners(rectangles: Tensor) -> Tensor:
    """The four corners ``[..., 4, 2]``, counter-clockwise from ``(x, y)``."""
    unit = rectangles.new_tensor([[0, 0], [1, 0], [1, 1], [0, 1]])
    return to_world(unit * rectangles[..., None, 2:4], rectangles[..., None, :])


def centres(rectangles: Tensor) -> Tensor:
    """The centres ``[..., 2]``."""
    return to_world(rectangles[..., 2:4] / 2, rectangles)


def nearest(points: Tensor, rectangles: Tensor) -> Tensor:
    """The point of each rectangle that is nearest to ``points``, ``[..., 2]``."""
    local = to_local(points, rectangles)
    inside = torch.minimum(local.clamp(min=0), rectangles[..., 2:4])
    return to_world(inside, rectangles)


def distance(points: Tensor, rectangles: Tensor) -> Tensor:
    """Distance from points ``[..., 2]`` to rectangles ``[..., 5]``, 0 inside: ``[...]``."""
    local = to_local(points, rectangles)
    beyond = torch.maximum(-local, local - rectangles[..., 2:4]).clamp(min=0)
    return torch.hypot(beyond[..., 0], beyond[..., 1])


def rectangles_meet(a: Tensor, b: Tensor) -> Tensor:
    """Whether two rectangles ``[..., 5]`` have a point in common.

    By the theorem of the separating axis: convex sets are apart if and only if their shadows on
    some axis are, and for rectangles the four axes along their sides are enough (Gottschalk et
    al. 1996, "OBBTree").
    """
    between = centres(b) - centres(a)
    turn = b[..., 4] - a[..., 4]
    cos, sin = turn.cos().abs(), turn.sin().abs()
    w_a, h_a, w_b, h_b = (r[..., k] / 2 for r in (a, b) for k in (2, 3))
    in_a = rotated(between, -a[..., 4]).abs()
    in_b = rotated(between, -b[..., 4]).abs()
    apart = in_a[..., 0] > w_a + w_b * cos + h_b * sin + TOUCH
    apart |= in_a[..., 1] > h_a + w_b * sin + h_b * cos + TOUCH
    apart |= in_b[..., 0] > w_b + w_a * cos + h_a * sin + TOUCH
    apart |= in_b[..., 1] > h_b + w_a * sin + h_a * cos + TOUCH
    return ~apart


def segment_meets(start: Tensor, end: Tensor, rectangles: Tensor) -> Tensor:
    """Whether the segment from ``start`` to ``end``, ``[..., 2]``, meets a rectangle.

    The segment is cut to the strip between each pair of sides; it meets the rectangle if anything
    is left (Liang and Barsky 1984).
    """
    first = to_local(start, rectangles)
    step = to_local(end, rectangles) - first
    low = -TOUCH - first
    high = rectangles[..., 2:4] + TOUCH - first
    along = step == 0
    safe = torch.where(along, 1.0, step)
    one, two = low / safe, high / safe
    # A segment along a strip is in it for all of its length or not at all.
    inside = (low <= 0) & (high >= 0)
    enter = torch.where(along, torch.where(inside, 0.0, 2.0), torch.minimum(one, two))
    leave = torch.where(along, torch.where(inside, 1.0, -1.0), torch.maximum(one, two))
    return enter.amax(-1).clamp(min=0) <= leave.amin(-1).clamp(max=1)
