"""Handwritten digits as rows of numbers, three disjoint sets of them, and concepts made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dualdiff.randomness import stream

SIDE = 8
CLASSES = 10
PARTS = {"judge": 598, "models": 899, "test": 300}
"""Images that judges learn from, that models learn from, and that nobody learns from."""
Part = Literal["judge", "models", "test"]
Pictures = tuple[Tensor, Tensor]
"""Images ``[n, 64]`` from -1 (paper) to 1 (ink), and their classes ``[n]``."""


@lru_cache(maxsize=1)
def _shuffled() -> Pictures:
    if find_spec("sklearn") is None:
        raise ValueError(
            "sklearn is not installed, which the digits come with; install it with: "
            "pip install scikit-learn"
        )
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.data), generator=stream(0, "digits"))
    images = torch.from_numpy(found.data).float() / 8 - 1
    return images[order], torch.from_numpy(found.target).long()[order]


def digits(part: str) -> Pictures:
    """The images of a part of :data:`PARTS`, always the same ones, in random order.

    Raises
    ------
    ValueError
        For another part, or without scikit-learn, whose 1,797 images (of 43 people) they are.

    Notes
    -----
    Alpaydin and Kaynak (1998), "Cascading classifiers".
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
    names = [*PARTS]
    first = sum(PARTS[name] for name in names[: names.index(part)])
    images, labels = _shuffled()
    here = slice(first, first + PARTS[part])
    return images[here], labels[here]


def checked(images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Images ``[n, 64]``, if they are that.

    Raises
    ------
    ValueError
        For another size, fewer than two images, numbers that are not finite, or labels that are not
        there for every image.
    """
    if images.ndim != 2 or images.shape[1] != SIDE**2:
        size = " x ".join(map(str, images.shape))
        raise ValueError(f"images must be rows of {SIDE} x {SIDE} numbers, not {size}")
    if len(images) < 2:
        raise ValueError(f"there must be at least 2 images, not {len(images)}")
    if not bool(torch.isfinite(images).all()):
        raise ValueError("images must be finite numbers, and some are not")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(images)} images have {len(labels)} labels")
    return images


def warped(images: Tensor, maps: Tensor) -> Tensor:
    """Images ``[n, 64]`` seen through affine maps ``[n, 2, 3]`` of the square [-1, 1]^2.

    What comes from outside is paper.
    """
    ink = (images + 1).view(-1, 1, SIDE, SIDE)
    size = [*ink.shape]
    grid = functional.affine_grid(maps.to(ink), size, align_corners=False)
    seen = functional.grid_sample(ink, grid, align_corners=False)
    return (seen - 1).view(len(images), -1)


def jittered(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Images moved by up to half a pixel, turned by up to 8 degrees, scaled by up to 6 %."""
    n = len(images)
    u = strength * (2 * torch.rand(n, 4, generator=generator, dtype=torch.float32) - 1)
    angle, size = u[:, 0] * 0.14, 1 + 0.06 * u[:, 1]
    cos, sin = angle.cos() * size, angle.sin() * size
    shift = u[:, 2:] * (1 / SIDE)
    rows = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1)
    return warped(images, rows.view(n, 2, 3))


def slanted(images: Tensor) -> Tensor:
    """Digits that lean to the right."""
    shear = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]])
    return warped(images, shear.expand(len(images), -1, -1))


def bold(images: Tensor) -> Tensor:
    """Digits with thicker strokes: every pixel takes up the most ink of its four neighbours."""
    ink = functional.pad(images.view(-1, 1, SIDE, SIDE), (1, 1, 1, 1), value=-1.0)
    around = (ink[..., 1:-1, :-2], ink[..., 1:-1, 2:], ink[..., :-2, 1:-1], ink[..., 2:, 1:-1])
    most = torch.stack(around).amax(0)
    own = ink[..., 1:-1, 1:-1]
    return (own + 0.6 * (most - own).clamp(min=0)).flatten(1)


def inverted(images: Tensor) -> Tensor:
    """White on black."""
    return -images


CONCEPTS: dict[str, Callable[[Tensor], Tensor]] = {
    "slanted": slanted,
    "bold": bold,
    "inverted": inverted,
}
"""Styles that a concept of few images may have."""


def one_hot(labels: Tensor) -> Tensor:
    """Classes ``[n]``, -1 for none, as conditions ``[n, 11]``: the last number is 1 where a word
    stands that names a concept, here 0."""
    told = torch.zeros(len(labels), CLASSES + 1)
    known = labels >= 0
    told[known, labels[known].long()] = 1
    return told
