"""Handwritten digits and printed characters as rows of numbers, concepts and small motions."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from torch import Tensor
from torch.nn import functional

from dualdiff.randomness import stream

SIDE = 8
CLASSES = 10
PARTS = {"judge": 598, "models": 899, "test": 300}  # who learns from an image: judges, models, none
Pictures = tuple[Tensor, Tensor]  # images [n, 64] from -1 (paper) to 1 (ink), classes [n]


def _places(part: str, sizes: Mapping[str, int], label: str) -> Tensor:
    """Which of all things are of a part, at random, always the same ones."""
    if part not in sizes:
        raise ValueError(f"part must be one of {', '.join(sizes)}, not {part!r}")
    order = torch.randperm(sum(sizes.values()), generator=stream(0, label))
    return order.split([*sizes.values()])[[*sizes].index(part)]


@lru_cache(maxsize=3)
def digits(part: str) -> Pictures:
    """The images of a part of :data:`PARTS`, always the same ones, in random order: scikit-learn's
    1,797, of 43 people.

    Raises
    ------
    ValueError
        For another part.

    Notes
    -----
    Alpaydin and Kaynak (1998), "Cascading classifiers".
    """
    from sklearn.datasets import load_digits

    found, places = load_digits(), _places(part, PARTS, "digits")
    images = torch.from_numpy(found.data).float() / 8 - 1
    return images[places], torch.from_numpy(found.target).long()[places]


def checked(images: Tensor, labels: Tensor | None = None, side: int = SIDE) -> Tensor:
    """Images ``[n, side^2]``, if they are that.

    Raises
    ------
    ValueError
        For another size, fewer than two images, numbers that are not finite, or labels that are not
        there for every image.
    """
    if images.ndim != 2 or images.shape[1] != side**2:
        size = " x ".join(map(str, images.shape))
        raise ValueError(f"images must be rows of {side} x {side} numbers, not {size}")
    if len(images) < 2:
        raise ValueError(f"there must be at least 2 images, not {len(images)}")
    if not bool(torch.isfinite(images).all()):
        raise ValueError("images must be finite numbers, and some are not")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(images)} images have {len(labels)} labels")
    return images


def warped(images: Tensor, maps: Tensor) -> Tensor:
    """Square images ``[n, side^2]`` seen through affine maps ``[n, 2, 3]`` of [-1, 1]^2.

    What comes from outside is paper.
    """
    side = math.isqrt(images.shape[1])
    ink = (images + 1).view(-1, 1, side, side)
    size = [*ink.shape]
    grid = functional.affine_grid(maps.to(ink), size, align_corners=False)
    seen = functional.grid_sample(ink, grid, align_corners=False)
    return (seen - 1).view(len(images), -1)


def jittered(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Square images moved by up to half a pixel, turned by up to 8 degrees, scaled by up to 6 %."""
    n = len(images)
    u = strength * (2 * torch.rand(n, 4, generator=generator, dtype=torch.float32) - 1)
    angle, size = u[:, 0] * 0.14, 1 + 0.06 * u[:, 1]
    cos, sin = angle.cos() * size, angle.sin() * size
    shift = u[:, 2:] * (1 / math.isqrt(images.shape[1]))
    rows = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1)
    return warped(images, rows.view(n, 2, 3))


def slanted(images: Tensor) -> Tensor:
    """Digits that lean to the right."""
    shear = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]])
    return warped(images, shear.expand(len(images), -1, -1))


CROSS = ((1, 3), (3, 1))


def bold(images: Tensor) -> Tensor:
    """Digits with thicker strokes: every pixel takes up the most ink of its four neighbours."""
    ink = images.view(-1, 1, SIDE, SIDE)
    beside, above = (functional.max_pool2d(ink, k, 1, (k[0] // 2, k[1] // 2)) for k in CROSS)
    return (ink + 0.6 * (torch.maximum(beside, above) - ink)).flatten(1)


def inverted(images: Tensor) -> Tensor:
    """White on black."""
    return -images


CONCEPTS = {"slanted": slanted, "bold": bold, "inverted": inverted}
"""Styles that a concept of few images may have."""


def one_hot(labels: Tensor) -> Tensor:
    """Classes ``[n]``, -1 for none, as conditions ``[n, 11]``: the last number is 1 where a word
    stands that names a concept, here 0."""
    told = functional.one_hot(labels.clamp(min=0).long(), CLASSES + 1)
    return (told * (labels >= 0)[:, None]).float()


GLYPH = 16
POINTS = 13  # pixels of an em
FACES = (
    *(f"DejaVuSans{face}" for face in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{face}" for face in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{face}" for face in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{face}" for face in ("", "Bol", "Italic", "BolIta")),
)
LEAST = 12  # faces that a character must have
NOWHERE = torch.full((GLYPH**2,), math.nan)  # a character that a face does not have
# Characters that the encoder and the judge learn from, and that nobody learns from; models learn
# from all others.
CHARACTERS = {"encoder": 300, "judge": 300, "test": 100}


@dataclass(frozen=True)
class Glyphs:
    """Characters ``[k]`` in faces: images ``[k, 16, 256]`` from -1 (paper) to 1 (ink), and whether
    a face has the character ``[k, 16]``."""

    characters: str
    images: Tensor
    there: Tensor

    def listed(self) -> tuple[Tensor, Tensor]:
        """All images ``[n, 256]`` and the characters' numbers ``[n]``."""
        character, face = self.there.nonzero(as_tuple=True)
        return self.images[character, face], character


def _centred(ink: Tensor) -> Tensor:
    """Ink ``[h, w]`` from 0 to 255 in the middle of a square of paper, ``[256]``."""
    free = [GLYPH - size for size in ink.shape]
    sides = [side for f in reversed(free) for side in (f // 2, f - f // 2)]
    return (functional.pad(ink, sides) / 127.5 - 1).flatten()


def _drawn(font: FT2Font, code: int) -> Tensor:
    """A character in the middle of the square; what has no ink or does not fit is not there."""
    font.set_text(chr(code))
    font.draw_glyphs_to_bitmap(antialiased=True)
    drawn = torch.from_numpy(np.array(font.get_image(), dtype="float32"))
    rows, columns = drawn.nonzero(as_tuple=True)
    if not len(rows):
        return NOWHERE
    ink = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return _centred(ink) if max(ink.shape) <= GLYPH else NOWHERE


@lru_cache(maxsize=1)
def _all() -> Glyphs:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [FT2Font(str(folder / f"{face}.ttf")) for face in FACES]
    for font in fonts:
        font.set_size(POINTS, 72)
    maps = [set(font.get_charmap()) for font in fonts]
    often = [code for code in set.union(*maps) if sum(code in m for m in maps) >= LEAST]
    found = dict[bytes, tuple[str, Tensor]]()
    for code in sorted(code for code in often if not unicodedata.combining(chr(code))):
        own = [_drawn(f, code) if code in m else NOWHERE for f, m in zip(fonts, maps, strict=True)]
        drawn = [face for face in own if face is not NOWHERE]
        if len(drawn) >= LEAST:
            # Greek and Cyrillic letters that look like Latin ones are no classes of their own.
            found.setdefault(drawn[0].numpy().tobytes(), (chr(code), torch.stack(own)))
    characters, rows = zip(*found.values(), strict=True)
    images = torch.stack(rows)
    return Glyphs("".join(characters), images.nan_to_num(-1.0), ~images[..., 0].isnan())


@lru_cache(maxsize=4)
def glyphs(part: str) -> Glyphs:
    """The characters of a part, in the order of their code points.

    Raises
    ------
    ValueError
        For no part of :data:`CHARACTERS` and no ``models``.
    """
    everything = _all()
    models = len(everything.characters) - sum(CHARACTERS.values())
    index = _places(part, CHARACTERS | {"models": models}, "glyphs").sort().values
    characters = "".join(everything.characters[int(k)] for k in index)
    return Glyphs(characters, everything.images[index], everything.there[index])


def opened(path: str | Path) -> Tensor:
    """A picture of one's own as a glyph ``[256]``: dark is ink, fitted into the middle.

    Raises
    ------
    ValueError
        For a file that is not there, that is no image, and for one without ink.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            ink = ImageOps.invert(file.convert("L"))
    except OSError as error:
        where = Path(path).absolute()
        raise ValueError(f"{where} is no image that can be read: {error}") from None
    if (box := ink.getbbox()) is None:
        raise ValueError(f"{path} has no ink: all of it is white")
    fitted = ImageOps.contain(ink.crop(box), (POINTS, POINTS))
    return _centred(torch.from_numpy(np.array(fitted, "float32")))
