"""What reads pictures and tells styles, apart from all models: trained on images that none sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualdiff.images.data import CONCEPTS, checked, digits, jittered
from dualdiff.metrics import Estimate, frechet_distance, neighbour_scores
from dualdiff.randomness import one_thread, stream

FEATURES = 24
"""Principal components in which clouds of images are compared."""
ROUNDS = 4
"""Times that a judge sees every image, each time moved a little."""
STYLES = ("plain", *CONCEPTS)


@dataclass(frozen=True)
class Judge:
    """Reads digits in every style, tells styles, and gives features (scikit-learn).

    Support vector machines with Gaussian kernels on the 598 images of part ``judge``, each in all
    :data:`STYLES` and moved a little; principal components of the same.
    """

    reader: Any
    styles: Any
    components: Any

    def read(self, images: Tensor) -> Tensor:
        """Classes ``[n]`` of images ``[n, 64]``."""
        with one_thread():
            return torch.from_numpy(self.reader.predict(images.numpy()))

    def style(self, images: Tensor) -> Tensor:
        """Styles ``[n]``, numbers of :data:`STYLES`."""
        with one_thread():
            return torch.from_numpy(self.styles.predict(images.numpy()))

    def features(self, images: Tensor) -> Tensor:
        """Principal components ``[n, 24]``."""
        return torch.from_numpy(self.components.transform(images.numpy()))


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
def judge() -> Judge:
    """The judge, always the same: it takes seconds to train."""
    from sklearn.decomposition import PCA
    from sklearn.svm import SVC

    images, labels = digits("judge")
    moved = [images, *(jittered(images, stream(0, "judge", k)) for k in range(ROUNDS))]
    rows = [styled(one, style) for style in STYLES for one in moved]
    x, count = torch.cat(rows).numpy(), len(moved) * len(images)
    with one_thread():
        reader = SVC(C=10).fit(x, labels.repeat(len(rows)).numpy())
        styles = SVC(C=10).fit(x, np.repeat(np.arange(len(STYLES)), count))
        components = PCA(FEATURES, svd_solver="full").fit(x)
    return Judge(reader, styles, components)


def share(right: Tensor) -> Estimate:
    """Share of flags ``[n]`` with its 95 % interval of Wilson (1927)."""
    n, z = len(right), 1.959964
    p = float(right.double().mean())
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return Estimate(p, middle - half, middle + half)


def judged(
    images: Tensor, asked: Tensor, style: str, learned: Tensor, replicates: int = 20
) -> dict[str, Estimate]:
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
    judge_, test = judge(), styled(digits("test")[0], style)
    images = checked(images, asked).clamp(-1, 1)
    found = {"concept": share(judge_.style(images) == STYLES.index(style))}
    if bool((asked >= 0).all()):
        found["control"] = share(judge_.read(images) == asked)
    x, z = judge_.features(images).numpy(), judge_.features(test).numpy()
    exact = "donot_use_mm_for_euclid_dist"  # the fast mode loses digits of short distances
    near = torch.cdist(images, learned, compute_mode=exact).amin(1)
    source = stream(0, "pictures bootstrap")
    drawn: dict[str, list[float]] = {"precision": [], "recall": [], "frechet": [], "nearest": []}
    for k in range(1 + replicates):
        rows = torch.randint(len(x), (len(x),), generator=source) if k else torch.arange(len(x))
        scores = neighbour_scores(x[rows], z)
        drawn["frechet"].append(frechet_distance(x[rows], z))
        drawn["nearest"].append(float(near[rows].mean()))
        for name in ("precision", "recall"):
            drawn[name].append(scores[name])
    for name, (value, *others) in drawn.items():
        half = 1.96 * float(np.std(others, ddof=1)) if others else float("nan")
        found[name] = Estimate(value, value - half, value + half)
    return found
