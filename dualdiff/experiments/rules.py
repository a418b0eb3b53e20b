"""The composition rules of the book, with the weights at which it shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from dualdiff.compose import Weight, Weighted, common_process, guided
from dualdiff.denoisers import Denoiser

Members = Mapping[str, Denoiser]


@dataclass(frozen=True)
class Rule:
    """A composition rule with the weights at which the book shows it.

    ``make(members)`` composes ``general``, ``specialised`` and ``unconditional``; ``target`` says
    in TeX what density the rule aims at.
    """

    title: str
    target: str
    make: Callable[[Members], Weighted]


def weighted(general: Weight, specialised: Weight) -> Callable[[Members], Weighted]:
    """A maker of weighted sums of the general and the specialised model, for :data:`RULES`."""
    weights = {"general": general, "specialised": specialised}
    return lambda members: Weighted({name: members[name] for name in weights}, weights)


def classifier_free(conditional: Denoiser, unconditional: Denoiser, weight: Weight) -> Weighted:
    r"""Classifier-free guidance.

    .. math:: \varepsilon = \varepsilon(c) + w\,(\varepsilon(c) - \varepsilon(\varnothing)),
              \qquad p(y \mid c)^{1 + w}\, p(y)^{-w}

    so w = 0 is the conditional and w = -1 the unconditional model. Some write :math:`1 + w` as the
    weight; this is the convention of Ho and Salimans (2022), equation 6. ``unconditional`` is
    :class:`dualdiff.networks.Unconditional` of a network trained with ``p_uncond``.
    """
    amount = 1 + torch.as_tensor(weight, dtype=torch.float64).cpu()
    return guided(unconditional, {"conditional": conditional}, {"conditional": amount})


def video_adapter(
    specialised: Denoiser,
    unconditional: Denoiser,
    general: Denoiser,
    *,
    prior_strength: float,
    inverse_temperature: float,
) -> Weighted:
    r"""Video Adapter, Algorithm 1: a small model steered by a large pretrained one.

    .. math:: \varepsilon = \varepsilon_\theta(\varnothing) + \alpha \bigl(\varepsilon_\theta(c) +
              \gamma\, \varepsilon_\mathrm{pre}(c) - \varepsilon_\theta(\varnothing)\bigr)

    with :math:`\theta` specialised, pre general, prior strength :math:`\gamma` and inverse
    temperature :math:`\alpha`. The weights sum to :math:`1 + \alpha\gamma`.

    Parameters
    ----------
    specialised, unconditional, general : Denoiser
        :math:`\varepsilon_\theta(c)`, :math:`\varepsilon_\theta(\varnothing)`,
        :math:`\varepsilon_\mathrm{pre}(c)`.
    prior_strength, inverse_temperature : float

    Notes
    -----
    Yang et al. (2023), arXiv 2306.01872.
    """
    members = {"specialised": specialised, "unconditional": unconditional, "general": general}
    alpha, gamma = inverse_temperature, prior_strength
    return Weighted(
        members, {"specialised": alpha, "unconditional": 1 - alpha, "general": alpha * gamma}
    )


def _ramp(members: Members) -> Weighted:
    """Half and half at high noise, the specialised model alone at low noise."""
    share = torch.linspace(0, 0.5, common_process(members).steps)
    return weighted(share, 1 - share)(members)


def _composable(general: float, specialised: float) -> Callable[[Members], Weighted]:
    weights = {"general": general, "specialised": specialised}
    return lambda members: guided(
        members["unconditional"], {name: members[name] for name in weights}, weights
    )


RULES: dict[str, Rule] = {
    "sum": Rule("joint sum (1, 1)", "p_g p_s", weighted(1.0, 1.0)),
    "average": Rule("average (½, ½)", r"\sqrt{p_g p_s}", weighted(0.5, 0.5)),
    "light": Rule("weighted sum (¼, 1)", "p_g^{1/4} p_s", weighted(0.25, 1.0)),
    "ramp": Rule("per-step weights", r"p_g^{w(t)} p_s^{1 - w(t)}", _ramp),
    "composable": Rule(
        "composable (1, 1)",
        "p_u (p_g / p_u) (p_s / p_u)",
        _composable(1.0, 1.0),
    ),
    "negation": Rule(
        "composable, NOT general",
        "p_u (p_s / p_u) (p_g / p_u)^{-1/2}",
        _composable(-0.5, 1.0),
    ),
    "guidance": Rule(
        "guidance, w = 1",
        "p_s^2 / p_u",
        lambda m: classifier_free(m["specialised"], m["unconditional"], 1.0),
    ),
    "concept": Rule(
        "generalised guidance",
        "p_g (p_s / p_g)^{3/2}",
        lambda m: guided(m["general"], {"concept": m["specialised"]}, {"concept": 1.5}),
    ),
    "video_adapter": Rule(
        "Video Adapter",
        "p_u (p_s p_g^{1/2} / p_u)^{3/2}",
        lambda m: video_adapter(**m, prior_strength=0.5, inverse_temperature=1.5),
    ),
}
"""Every rule once: the laws that hold for all are tested on them, and the book compares them."""
