"""What reads pictures, tells styles and encodes, apart from all models: trained on images that none
sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor

from dualdiff.images.data import CONCEPTS, GLYPH, checked, digits, glyphs, jittered
from dualdiff.metrics import Estimate, frechet_distance, neighbour_scores
from dualdiff.randomness import one_thread, stream

COMPONENTS = 24  # principal components in which clouds of digits are compared
ROUNDS = 4  # times that a judge sees every image, each time moved a little
STYLES = ("plain", *CONCEPTS)
Scored = dict[str, Estimate]
"""Estimates by metric."""


def check_style(style: str) -> None:
    """Refuse what is no style of :data:`STYLES`, with a ValueError."""
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")


def styled(images: Tensor, style: str) -> Tensor:
    """Images in a style of :data:`STYLES`.

    Raises
    ------
    ValueError
        For another style.
    """
    check_style(style)
    return images if style == "plain" else CONCEPTS[style](images)


@lru_cache(maxsize=1)
def _judges() -> tuple[Any, Any, Any]:
    """Support vector machines with Gaussian kernels on the 598 images of part ``judge``, each in
    all :data:`STYLES` and moved a little, for classes and styles; principal components of them."""
    from sklearn.decomposition import PCA
    from sklearn.svm import SVC

    images, labels = digits("judge")
    moved = [images, *(jittered(images, stream(0, "judge", k)) for k in range(ROUNDS))]
    rows = [styled(one, style) for style in STYLES for one in moved]
    x, count = torch.cat(rows).numpy(), len(moved) * len(images)
    with one_thread():
        classes = SVC(C=10).fit(x, labels.repeat(len(rows)).numpy())
        styles = SVC(C=10).fit(x, np.repeat(np.arange(len(STYLES)), count))
        return classes, styles, PCA(COMPONENTS, svd_solver="full").fit(x)


def read_digits(images: Tensor) -> Tensor:
    """Classes ``[n]`` of images ``[n, 64]``, in any style."""
    with one_thread():
        return torch.from_numpy(_judges()[0].predict(images.numpy()))


def tell_styles(images: Tensor) -> Tensor:
    """Styles ``[n]`` of images ``[n, 64]``, numbers of :data:`STYLES`."""
    with one_thread():
        return torch.from_numpy(_judges()[1].predict(images.numpy()))


def components(images: Tensor) -> Tensor:
    """Principal components ``[n, 24]`` of images ``[n, 64]``."""
    return torch.from_numpy(_judges()[2].transform(images.numpy()))


def share(right: Tensor) -> Estimate:
    """Share of flags ``[n]`` with its 95 % interval of Wilson (1927)."""
    n = len(right)
    found = binomtest(int(right.sum()), n).proportion_ci(method="wilson")
    return Estimate(float(right.double().mean()), float(found.low), float(found.high))


def averaged(values: Tensor) -> Estimate:
    """Mean of numbers ``[n]`` with its 95 % interval, normal."""
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half)


def apart(images: Tensor, labels: Tensor) -> Estimate:
    """Mean distance of two pictures of one class, with an interval over the classes."""
    groups = [images[labels == k] for k in labels.unique()]
    return averaged(torch.stack([torch.pdist(group).mean() for group in groups]))


def judged(images: Tensor, asked: Tensor, style: str, learned: Tensor) -> Scored:
    """What samples score that were asked for classes, in a style.

    Parameters
    ----------
    images : Tensor [n, 64]
    asked : Tensor [n]
        Classes; below zero: none was asked for.
    style : str
        Of :data:`STYLES`.
    learned : Tensor [m, 64]
        What the model may have learned by heart.

    Returns
    -------
    dict
        ``control``, the share read as asked, and ``concept``, of the style; ``precision``,
        ``recall`` and ``frechet`` (squared, in principal components) against the 300 test images
        in this style; ``nearest``, the mean distance to the nearest image that was learned.
        Intervals of the last four are of a bootstrap over the samples.

    Raises
    ------
    ValueError
        For what :func:`~dualdiff.images.data.checked` refuses, and for another style.
    """
    test = styled(digits("test")[0], style)
    images = checked(images, asked).clamp(-1, 1)
    found = {"concept": share(tell_styles(images) == STYLES.index(style))}
    if bool((asked >= 0).all()):
        found["control"] = share(read_digits(images) == asked)
    near = distances(images, learned).amin(1)
    return found | compared(components(images), components(test), near)


def distances(images: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances ``[n, m]`` of images, without the fast mode, which loses short ones."""
    return torch.cdist(images, others, compute_mode="donot_use_mm_for_euclid_dist")


def compared(x: Tensor, z: Tensor, near: Tensor, replicates: int = 20) -> Scored:
    """Clouds of features: samples ``x [n, k]`` against true ones ``z [m, k]``.

    ``precision``, ``recall``, ``frechet``, and ``nearest``, the mean of ``near [n]``, with
    intervals of a bootstrap over the samples.
    """
    source = stream(0, "pictures bootstrap")

    def scored(rows: Tensor) -> dict[str, float]:
        some, true = x[rows].numpy(), z.numpy()
        found = {"frechet": frechet_distance(some, true), "nearest": float(near[rows].mean())}
        return neighbour_scores(some, true) | found

    n = len(x)
    again = [torch.randint(n, (n,), generator=source) for _ in range(replicates)]
    table = pd.DataFrame([scored(rows) for rows in (torch.arange(n), *again)])
    halves = 1.96 * table[1:].std()
    names = ("precision", "recall", "frechet", "nearest")
    return {m: Estimate(v := table[m][0], v - halves[m], v + halves[m]) for m in names}


FEATURES = 32  # linear discriminants of an encoder or a judge, most important first
KEPT = 96  # principal components of the models' images in which diffusion runs
TURNS = 3


def _moved(part: str, rounds: int) -> tuple[Tensor, Tensor]:
    """Every image of a part in several places, and its character's number."""
    images, labels = glyphs(part).listed()
    moved = [jittered(images, stream(0, "glyph judge", part, k)) for k in range(rounds)]
    return torch.cat(moved), labels.repeat(rounds)


@lru_cache(maxsize=2)
def encoder(part: str) -> Callable[[Tensor], Tensor]:
    """Features ``[n, 32]`` of images ``[n, 256]``: linear discriminants (Fisher 1936) of the
    characters of part ``encoder`` or ``judge``, centred, in one unit for all."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    images, labels = _moved(part, TURNS)
    with one_thread():
        fitted = LinearDiscriminantAnalysis("eigen", shrinkage=0.02, n_components=FEATURES)
        seen = fitted.fit(images.numpy(), labels.numpy()).transform(images.numpy())
    mean = seen.mean(0)
    unit = (seen - mean).std()

    def features(images: Tensor) -> Tensor:
        seen = fitted.transform(checked(images, side=GLYPH).clamp(-1, 1).numpy())
        return torch.from_numpy((seen - mean) / unit).float()

    return features


@lru_cache(maxsize=1)
def _reader() -> Any:
    from sklearn.svm import SVC

    return SVC(C=10).fit(*(part.numpy() for part in _moved("test", 2 * TURNS)))


def read(images: Tensor) -> Tensor:
    """Numbers ``[n]`` of test characters, by a support vector machine that has seen them moved."""
    with one_thread():
        return torch.from_numpy(_reader().predict(checked(images, side=GLYPH).numpy()))


@dataclass(frozen=True)
class Space:
    """Principal components of images: ``mean [256]``, orthonormal ``basis [96, 256]``, and standard
    deviations ``spread [96]``."""

    mean: Tensor
    basis: Tensor
    spread: Tensor

    def encode(self, images: Tensor) -> Tensor:
        """Coordinates ``[n, 96]`` of images ``[n, 256]``."""
        return (images - self.mean) @ self.basis.T

    def decode(self, z: Tensor) -> Tensor:
        """Images ``[n, 256]`` from -1 to 1 at coordinates ``[n, 96]``."""
        return (z @ self.basis + self.mean).clamp(-1, 1)


@lru_cache(maxsize=1)
def space() -> Space:
    """The components of the models' characters, moved: 98 % of their variance."""
    from sklearn.decomposition import PCA

    images, _ = _moved("models", 1)
    with one_thread():
        fitted = PCA(KEPT, svd_solver="full").fit(images.numpy())
    mean, basis = (torch.from_numpy(a).float() for a in (fitted.mean_, fitted.components_))
    return Space(mean, basis, torch.from_numpy(fitted.explained_variance_).float().sqrt())
