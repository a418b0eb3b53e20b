"""Score distillation into strokes: a network of pictures moves what a renderer draws.

The second expert is the renderer: what it cannot draw has no density."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser
from dualdiff.images.data import CLASSES, SIDE, digits, one_hot
from dualdiff.images.judge import Scored, apart, judged
from dualdiff.images.members import PICTURES, Digits, ImageTrial, PictureNetworks, sized, towards
from dualdiff.images.study import SIZES
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.samplers import sample

STROKES = 3
POINTS = 17  # of a curve, where ink is measured
STEPS = 600
WEIGHTS = (1.0, 2.0, 4.0, 8.0, 16.0)


def rendered(strokes: Tensor, side: int = SIDE) -> Tensor:
    r"""Pictures ``[n, side^2]`` of quadratic Bezier curves, differentiable.

    .. math:: \mathrm{ink}(x) = \max_k\, s\Bigl(\frac{w_k - d_k(x)}{\tau}\Bigr), \qquad
              d_k(x) = \min_u \lvert x - B_k(u) \rvert

    with the logistic function s, half-width w and softness :math:`\tau` half a pixel.

    Parameters
    ----------
    strokes : Tensor [n, k, 7]
        Three control points in [-1, 1] (x, y each) and the logarithm of the half-width.
    """
    points, width = strokes[..., :6].unflatten(-1, (3, 2)), strokes[..., 6].exp()
    u = torch.linspace(0, 1, POINTS).to(strokes)[:, None]
    shares = torch.stack([(1 - u) ** 2, 2 * u * (1 - u), u**2])
    curve = torch.einsum("cui,nkcd->nkud", shares, points)
    line = (2 * torch.arange(side).to(strokes) + 1) / side - 1
    pixels = torch.stack([line.repeat(side), line.repeat_interleave(side)], -1)
    away = ((curve.unsqueeze(2) - pixels[:, None]).square().sum(-1) + 1e-6).sqrt().amin(-1)
    return 2 * torch.sigmoid((width[..., None] - away) * side).amax(1) - 1


class Certain(Denoiser):
    r"""One picture for each row, ``[n, dy]``, without doubt:
    :math:`\varepsilon = (y_t - \sqrt{\bar\alpha_t}\, y) / \sigma_t`. Distilled, it is least
    squares."""

    def __init__(self, process: Process, pictures: Tensor) -> None:
        super().__init__()
        self.process, self.pictures = process, process.encode_y(pictures)

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return (y - self.process.signal(t) * self.pictures) / self.process.noise(t)


def distilled(
    rule: Denoiser,
    c: Tensor,
    generator: torch.Generator,
    *,
    steps: int = STEPS,
    jacobian: bool = False,
) -> Iterator[Tensor]:
    r"""Strokes ``[n, 3, 7]`` that a network would take for its own pictures, after every step.

    .. math:: \nabla_\theta = w_t\, (\hat\varepsilon(y_t; c, t) - \varepsilon)\,
              \frac{\partial y}{\partial \theta}, \qquad
              y_t = \sqrt{\bar\alpha_t}\, y(\theta) + \sigma_t \varepsilon

    with :math:`w_t = \sigma_t^2`, one t and noise for each drawing and step, Adam with a falling
    rate. With ``jacobian`` the whole gradient of :math:`w_t |\hat\varepsilon - \varepsilon|^2 / 2`.

    Notes
    -----
    Poole et al. (2022), arXiv 2209.14988, equation 3; Jain et al. (2023), "VectorFusion".
    """
    process, n = rule.process, len(c)
    start = torch.rand(n, STROKES, 7, generator=generator) * 1.6 - 0.8
    start[..., 6] = math.log(0.15)
    strokes = start.requires_grad_()
    adam = torch.optim.Adam([strokes], lr=0.03)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    c = process.encode_c(c)
    for _ in range(steps):
        t = torch.randint(process.steps // 20, process.steps, (n,), generator=generator)
        y = process.encode_y(rendered(strokes))
        eps = torch.randn(n, process.dy, generator=generator)
        with torch.set_grad_enabled(jacobian):
            off = rule(process.diffuse(y, t, eps), t, c) - eps
        # Where it is held, the gradient by y is the weighted residual itself.
        loss = process.noise(t) ** 2 * (off.square() / 2 if jacobian else off * y)
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        fall.step()
        yield strokes.detach().clone()


class StrokeTrial(ImageTrial):
    """Three strokes for every class asked for.

    ``"distilled at W"``: by the network at guidance W; ``"jacobian at W"``: with its Jacobian.
    ``"samples at W"``: the network's own pictures. ``fitted``: strokes drawn after true digits,
    what the renderer can do.
    """

    world: Digits
    store_kind = "strokes"
    recipe = PICTURES
    ways: ClassVar = ("fitted", "distilled at W", "jacobian at W", "samples at W")

    def found(self, networks: PictureNetworks) -> dict[str, Scored]:
        """What is read and how near to true digits it is, and ``variety`` within a class."""
        (method, weights), network = self.parts(), networks.general.network
        asked, source = torch.arange(self.profile.conditions) % CLASSES, stream(self.seed, method)
        rule: Denoiser = towards(network, *weights)
        if method == "fitted":
            true, asked = (part[: len(asked)] for part in digits("test"))
            rule = Certain(network.process, true)
        if method == "samples":
            images = sample(rule, one_hot(asked), source).squeeze(1)
        else:
            through = method == "jacobian"
            *_, strokes = distilled(rule, one_hot(asked), source, jacobian=through)
            images = rendered(strokes)
        found = judged(images, asked, "plain", digits("models")[0])
        return {"samples": found | {"variety": apart(images.clamp(-1, 1), asked)}}


def stroke_trials(profile: str, seed: int) -> list[StrokeTrial]:
    """All ways over guidance, for 200 drawings."""
    size = sized(SIZES, profile)
    size = replace(size, conditions=min(size.conditions, 200))
    ways = [f"{way} at {w:g}" for way in ("samples", "distilled", "jacobian") for w in WEIGHTS]
    seeds = range(seed, seed + size.seeds)
    return [StrokeTrial(Digits(), size, s, way) for s in seeds for way in ("fitted", *ways)]
