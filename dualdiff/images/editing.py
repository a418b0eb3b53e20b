"""Editing digits: parts filled in, variations, inversion, steps along the difference of words."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser
from dualdiff.energy import Energy, Observation, twisted
from dualdiff.experiments.aggregate import interpolate
from dualdiff.experiments.trial import known
from dualdiff.images.data import CLASSES, SIDE, digits, one_hot
from dualdiff.images.judge import Scored, judged, read_digits, share
from dualdiff.images.members import PICTURES, Digits, ImageTrial, PictureNetworks, sized
from dualdiff.images.study import SIZES as STUDY
from dualdiff.metrics import Estimate
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import DDIM, DDPM, State, reverse, sample

SIZES = {
    name: size | {"conditions": n}
    for (name, size), n in zip(STUDY.items(), (10, 50, 100), strict=True)
}
EACH = 5  # results for every picture
INPAINTED = ("replaced", "repaint", "guided", "twisted")
LOWER = torch.arange(SIDE**2) >= SIDE**2 // 2  # the half that is filled in
STD = 0.06  # of known pixels for an energy: half a level of grey
GROUP = 20  # particles of twisted SMC
WHOLE = ("fresh", "between", "mixed", "other")
FROM = (10, 20, 40, 60, 80, 99)
STEPS = (5, 10, 20, 50, 100)
ROUNDS = (0, 1, 3)  # corrections of a step of inversion
MOVED = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


@torch.no_grad()
def inpaint(
    denoiser: Denoiser,
    c: Tensor,
    images: Tensor,
    hidden: Tensor,
    generator: torch.Generator,
    *,
    repeats: int = 1,
    jump: int = 10,
    steps: int | None = None,
) -> Tensor:
    r"""Fill in what is hidden by ancestral sampling in which the rest is replaced at every step.

    .. math:: y_{t'} = m\, \tilde y_{t'} + (1 - m) \left(\sqrt{\bar\alpha_{t'}}\, y +
              \sqrt{1 - \bar\alpha_{t'}}\, \varepsilon\right)

    with :math:`\tilde y_{t'}` the denoiser's step and m the hidden part. With ``repeats`` above 1
    the samples are noised again after every ``jump`` steps and these taken anew, so that what was
    filled in and what is known become one picture (RePaint).

    Parameters
    ----------
    denoiser : Denoiser
    c, images : Tensor [n, dc], [n, dy]
        Original units.
    hidden : Tensor [dy]
        Flags of the numbers to be filled in.
    generator : torch.Generator
    repeats, jump : int
        How often stretches of so many steps are taken; RePaint has 10 and 10.
    steps : int, optional
        Of the sampler, default all.

    Returns
    -------
    Tensor [n, dy]
        Original units; where nothing is hidden, the images.

    Raises
    ------
    ValueError
        For numbers below 1, and flags of another shape.

    Notes
    -----
    Lugmayr et al. (2022), algorithm 1.
    """
    process, sampler = denoiser.process, DDPM(steps)
    if repeats < 1 or jump < 1 or hidden.shape != (process.dy,) or hidden.dtype != torch.bool:
        raise ValueError(
            f"repeats and jump must be at least 1 and hidden {process.dy} flags, not {repeats}, "
            f"{jump} and {hidden.dtype} of shape {list(hidden.shape)}"
        )
    seen, predict = process.encode_y(images), denoiser.bind(process.encode_c(c))

    def noise() -> Tensor:
        return torch.empty_like(seen).normal_(generator=generator)

    visited, y = [*sampler.timesteps(process), -1], noise()
    for first in range(0, len(visited) - 1, jump):
        stretch = visited[first : first + jump + 1]
        for turn in range(repeats):
            if turn:
                left = process.alpha_bar_at(stretch[0]) / process.alpha_bar_at(stretch[-1])
                y = math.sqrt(left) * y + math.sqrt(1 - left) * noise()
            for t, following in pairwise(stretch):
                y = sampler.step(process, predict, State(y, t), following, noise).y
                abar = process.alpha_bar_at(following)
                y = torch.where(hidden, y, math.sqrt(abar) * seen + math.sqrt(1 - abar) * noise())
    return process.decode_y(y)


@torch.no_grad()
def invert(
    denoiser: Denoiser, c: Tensor, images: Tensor, steps: int | None = None, corrections: int = 0
) -> Tensor:
    r"""The noise from which deterministic DDIM makes images, standardised units ``[n, dy]``.

    .. math:: y_{t'} = \sqrt{\bar\alpha_{t'} / \bar\alpha_t}\, y_t + \left(\sigma_{t'} -
              \sqrt{\bar\alpha_{t'} / \bar\alpha_t}\, \sigma_t\right)
              \varepsilon_\theta(y, t', c), \qquad t' > t

    with :math:`y_t` in the place of the unknown y, an error of first order in the step; each of the
    ``corrections`` puts in what was found, which converges to the inverse itself.

    Parameters
    ----------
    denoiser : Denoiser
    c, images : Tensor [n, dc], [n, dy]
        Original units.
    steps, corrections : int

    Raises
    ------
    ValueError
        For steps that the process does not have, and corrections below 0.

    Notes
    -----
    Song, Meng and Ermon (2021), section 4.3; Pan et al. (2023), "Effective real image editing with
    accelerated iterative diffusion inversion".
    """
    if corrections < 0:
        raise ValueError(f"corrections must be at least 0, not {corrections}")
    process, predict = denoiser.process, denoiser.bind(denoiser.process.encode_c(c))
    y = process.encode_y(images)
    for t, following in pairwise([-1, *reversed(DDIM(steps).timesteps(process))]):
        here, there = process.alpha_bar_at(t), process.alpha_bar_at(following)
        ratio, at = math.sqrt(there / here), y
        turn = math.sqrt(1 - there) - ratio * math.sqrt(1 - here)
        for _ in range(corrections + 1):
            at = ratio * y + turn * predict(at, following)
        y = at
    return y


def decoded(denoiser: Denoiser, c: Tensor, noise: Tensor, steps: int | None = None) -> Tensor:
    """Images ``[n, dy]`` that deterministic DDIM makes of noise ``[n, dy]``: see :func:`invert`."""
    process = denoiser.process
    *_, last = reverse(denoiser, process.encode_c(c), DDIM(steps), lambda: noise)
    return process.decode_y(last.y)


def _rms(differences: Tensor) -> Estimate:
    return known(float(differences.square().mean().sqrt()))


def measured(images: Tensor, asked: Tensor, true: Tensor, part: Tensor) -> Scored:
    """Several results ``[n, k, 64]`` for each of n images ``true [n, 64]``, asked for classes.

    ``control``, ``precision``, ``recall``, ``frechet`` as of :func:`~dualdiff.images.judge.judged`;
    ``error``, root mean square difference from the true image within the ``part [64]``, ``kept``,
    outside of it; ``spread``, of two results within it: equal to the error where results follow the
    law of what is hidden.
    """
    rows = images.flatten(0, 1)
    found = judged(rows, asked.repeat_interleave(images.shape[1]), "plain", digits("models")[0])
    off = images - true[:, None]
    found["error"] = _rms(off[..., part])
    if not bool(part.all()):
        found["kept"] = _rms(off[..., ~part])
    if images.shape[1] > 1:
        found["spread"] = _rms((images - images.roll(1, 1))[..., part])
    return found


class EditTrial(ImageTrial):
    """What becomes of test images when they are edited, with and without their class.

    Filled in below the middle: ``replaced``, ``repaint``, ``guided`` (an energy), ``twisted``.
    ``"noised at T"``: noised to step T and denoised; ``fresh``: from noise alone. ``"inverted at
    S, R"``: there and back in S steps with R corrections. ``between`` two images, halfway: from the
    noises of both; ``mixed``: pixel by pixel. ``"words at S"``: from an image's noise, told its
    class and S times the way to another; ``other``: that class from fresh noise.
    """

    world: Digits
    store_kind = "editing"
    recipe = PICTURES
    ways: ClassVar = (*INPAINTED, *WHOLE, "noised at W", "words at W", "inverted at W, W")

    def drawn(self, network: Denoiser, c: Tensor, other: Tensor, true: Tensor) -> Tensor:
        """Results ``[n, k, 64]`` at conditions, and those of other classes, for images."""
        (method, numbers), source = self.parts(), stream(self.seed, "editing")
        if method in ("replaced", "repaint"):
            rows, told = true.repeat_interleave(EACH, 0), c.repeat_interleave(EACH, 0)
            repeats = 10 if method == "repaint" else 1
            found = inpaint(network, told, rows, LOWER, source, repeats=repeats)
            return found.unflatten(0, (-1, EACH))
        if method in ("guided", "twisted"):
            pairs = zip(c, true, strict=True)
            return torch.cat([self.observed(network, *one, source) for one in pairs])
        if method in ("fresh", "other", "noised"):
            start, step = (true, int(numbers[0])) if numbers else (None, None)
            told = other if method == "other" else c
            return sample(network, told, source, draws=EACH, start=start, from_step=step)
        if method == "inverted":
            steps, corrections = map(int, numbers)
            noise = invert(network, c, true, steps, corrections)
            return decoded(network, c, noise, steps)[:, None]
        if method == "mixed":
            return ((true + true.roll(1, 0)) / 2)[:, None]
        noise = invert(network, c, true, corrections=ROUNDS[-1])
        if method == "words":
            return decoded(network, c + numbers[0] * (other - c), noise)[:, None]
        middle = interpolate(noise, noise.roll(1, 0), 0.5, "spherical")
        return decoded(network, (c + c.roll(1, 0)) / 2, middle)[:, None]

    def observed(self, prior: Denoiser, c: Tensor, true: Tensor, source: torch.Generator) -> Tensor:
        """Results ``[1, k, 64]`` for one image whose upper half is an observation."""
        upper = torch.eye(SIDE**2)[~LOWER]
        rule = Energy(prior, Observation(prior.process, upper, true[~LOWER], STD))
        if self.configuration == "guided":
            return sample(rule, c[None], source, draws=EACH)
        how = Resampling(GROUP)
        return twisted(rule, c[None], source, resampling=how, draws=EACH * GROUP, keep=1).samples

    def found(self, networks: PictureNetworks) -> dict[str, Scored]:
        """:func:`measured` for networks told the class (``told``) and not (``untold``); ``ends``,
        the share read as one of both ends."""
        n, found, method = self.profile.conditions, dict[str, Scored](), self.parts()[0]
        true, labels = (part[:n] for part in digits("test"))
        other = (labels + 1 + torch.arange(n) % (CLASSES - 1)) % CLASSES
        asked = other if method in ("words", "other") else labels
        part = LOWER if method in INPAINTED else LOWER | True
        for target, classes in (("told", labels), ("untold", torch.full_like(labels, -1))):
            network, c = networks.general.network, one_hot(classes)
            images = self.drawn(network, c, one_hot(other), true)
            found[target] = measured(images, asked, true, part)
            if method in ("between", "mixed"):
                two, read = torch.stack([labels, labels.roll(1)]), read_digits(images[:, 0])
                found[target]["ends"] = share((two == read).any(0)[two[0] != two[1]])
        return found


def edit_trials(profile: str, seed: int) -> list[EditTrial]:
    """Every way to edit over its numbers."""
    size, ways = sized(SIZES, profile), [*INPAINTED, *WHOLE]
    ways += [f"noised at {t}" for t in FROM] + [f"words at {s:g}" for s in MOVED]
    ways += [f"inverted at {n}, {r}" for n in STEPS for r in ROUNDS]
    seeds = range(seed, seed + size.seeds)
    return [EditTrial(Digits("plain"), size, s, way) for s in seeds for way in ways]
