"""Compositions of states instead of noises: AMDM and SuperDiff."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from dualdiff.chunks import Streams
from dualdiff.compose import Weighted, common_process
from dualdiff.correct import Corrected, Progress, check_ancestral, in_chunks
from dualdiff.denoisers import Denoiser
from dualdiff.process import transition
from dualdiff.samplers import DDPM

Interpolation = Literal["spherical", "linear", "variance_preserving"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("spherical", "linear", "variance_preserving")


def interpolate(x: Tensor, z: Tensor, omega: float, how: Interpolation) -> Tensor:
    r"""Something between the rows of ``x`` and ``z [n, dy]``, with share ``omega`` of ``x``.

    With the angle :math:`\theta` between the two rows,

    - spherical: :math:`(\sin(\omega\theta)\, x + \sin((1-\omega)\theta)\, z) / \sin\theta`, as
      AMDM's paper has it (Shoemake 1985); linear where the rows are parallel;
    - linear: :math:`\omega x + (1 - \omega) z`, the paper's ablation;
    - variance_preserving: :math:`\omega x + \sqrt{1 - \omega^2} z`, the authors' code; it keeps the
      variance of independent rows only.
    """
    if how == "linear":
        return omega * x + (1 - omega) * z
    if how == "variance_preserving":
        return omega * x + math.sqrt(1 - omega**2) * z
    size = x.norm(dim=1, keepdim=True) * z.norm(dim=1, keepdim=True)
    cosine = (x * z).sum(1, keepdim=True) / size.clamp(min=1e-30)
    theta = cosine.clamp(-1, 1).acos()
    sine = theta.sin()
    arc = (omega * theta).sin() / sine * x + ((1 - omega) * theta).sin() / sine * z
    return torch.where(sine > 1e-4, arc, omega * x + (1 - omega) * z)


def deviate(z: Tensor, mean: Tensor, length: float) -> Tensor:
    r"""Deviation optimisation: move ``z [n, dy]`` towards ``mean``, at most up to it.

    .. math:: z - p \frac{z - \mu}{\lVert z - \mu \rVert}

    with the norm per sample and the length p capped at the distance (AMDM, equation 10; the
    authors' code takes the norm over the whole batch).
    """
    away = z - mean
    distance = away.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return z - away * (length / distance).clamp(max=1.0)


@torch.no_grad()
def amdm(
    members: Mapping[str, Denoiser],
    c: Tensor,
    generator: torch.Generator,
    *,
    aggregated: int,
    omega: float = 0.5,
    interpolation: Interpolation = "spherical",
    deviation: float = 0.0,
    draws: int = 1,
    sampler: DDPM | None = None,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Corrected:
    r"""Aggregation of multi diffusion models (AMDM).

    Every model takes its own ancestral step to :math:`x_i` with mean :math:`\mu_i`. In the first
    ``aggregated`` steps the states are folded by :func:`interpolate` to a common z, and each chain
    goes on from :func:`deviate` of z towards its own :math:`\mu_i` by
    :math:`p_t = \rho \sqrt{\beta_t d_y}`. Afterwards the first model runs alone; its samples are
    the result. No density is known that this targets.

    Parameters
    ----------
    members : mapping of names to denoisers
        The first one's samples are returned.
    c, generator, draws, chunk, progress
        As in :func:`dualdiff.samplers.sample`.
    aggregated : int
        Number of steps s with aggregation, 0 to S. With 0 the first model samples alone.
    omega : float
        Share of what has been folded so far, in [0, 1].
    interpolation : {"spherical", "linear", "variance_preserving"}
    deviation : float
        :math:`\rho \ge 0`.
    sampler : DDPM, optional

    Returns
    -------
    Corrected

    Notes
    -----
    arXiv 2410.01262, algorithm 1; its p of 0.3 is for images' latents.
    """
    process, sampler = common_process(members), check_ancestral(sampler)
    visited = sampler.timesteps(process)
    if not 0 <= aggregated <= len(visited):
        raise ValueError(f"aggregated must be from 0 to {len(visited)} steps, not {aggregated}")
    if not 0 <= omega <= 1:
        raise ValueError(f"omega must be between 0 and 1, not {omega}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation must be one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}"
        )
    if not (deviation >= 0 and math.isfinite(deviation)):
        raise ValueError(f"deviation must be at least 0 and finite, not {deviation}")

    def body(condition: Tensor, random: Streams) -> tuple[dict[str, Tensor], int]:
        bound = [member.bind(condition) for member in members.values()]
        start = random()
        states, calls = [start] * len(bound), 0
        for number, (t, following) in enumerate(pairwise([*visited, -1])):
            step = transition(process, t, following)
            if number == aggregated:
                states = states[:1]  # the first model goes on alone
            pairs = zip(bound, states, strict=False)
            means = [step.mean(y, predict(y, t)) for predict, y in pairs]
            calls += len(means)
            noise = math.sqrt(step.beta) if following >= 0 else 0.0
            states = [mean + noise * random() if noise else mean for mean in means]
            if number < aggregated:
                z = states[0]
                for other in states[1:]:
                    z = interpolate(z, other, omega, interpolation)
                length = deviation * math.sqrt(step.beta * process.dy)
                states = [deviate(z, mean, length) for mean in means]
        return {"samples": states[0]}, calls

    denoisers = list(members.values())
    return in_chunks(denoisers, c, generator, body, draws=draws, chunk=chunk, progress=progress)


@torch.no_grad()
def superdiff(
    members: Mapping[str, Denoiser],
    c: Tensor,
    generator: torch.Generator,
    *,
    mode: Literal["and", "or"],
    temperature: float = 1.0,
    draws: int = 1,
    sampler: DDPM | None = None,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Corrected:
    r"""SuperDiff: a mixture of the scores whose weights follow the running densities.

    With the mixed score :math:`\sum_i \kappa_i s_i`, noise :math:`\xi = \sqrt{\beta_t} z`, and log
    densities followed along the path by :math:`d \log p_i = \langle \beta_t s + \xi, s_i \rangle -
    \tfrac{\beta_t}{2} \lVert s_i \rVert^2` (up to what is the same for all),

    - ``and`` keeps all running estimates equal, and with them the densities where these are curved
      alike; for two members
      :math:`\kappa_1 = \tfrac12 - \langle \xi, s_1 - s_2 \rangle / (\beta_t \lVert s_1 - s_2
      \rVert^2)`, one half where the scores agree. More members give as many equations, solved as
      nearly to the mean score as can be, and by least squares where y has fewer coordinates than
      that. Equal densities are not the product.
    - ``or`` samples their mixture: :math:`\kappa = \mathrm{softmax}(\log p / \tau)`.

    Parameters
    ----------
    members : mapping of names to denoisers
        Of noised densities, so no compositions.
    c, generator, draws, chunk, progress
        As in :func:`dualdiff.samplers.sample`.
    mode : {"and", "or"}
    temperature : float
        :math:`\tau` of ``or``.
    sampler : DDPM, optional

    Returns
    -------
    Corrected

    Notes
    -----
    Skreta et al. (2024), arXiv 2412.17762, propositions 5 and 6.
    """
    process, sampler = common_process(members), check_ancestral(sampler)
    visited = sampler.timesteps(process)
    for name, member in members.items():
        if isinstance(member, Weighted):
            raise ValueError(
                f"member {name!r} is a composition, whose density cannot be followed along the "
                f"path; give its members by themselves"
            )
    if mode not in ("and", "or"):
        raise ValueError(f"mode must be 'and' or 'or', not {mode!r}")
    if mode == "and" and len(members) < 2:
        raise ValueError(f"mode 'and' needs two members or more, not {len(members)}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be positive and finite, not {temperature}")

    def body(condition: Tensor, random: Streams) -> tuple[dict[str, Tensor], int]:
        bound = [member.bind(condition) for member in members.values()]
        y = random()
        log_p = y.new_zeros(len(bound), len(y))
        for t, following in pairwise([*visited, -1]):
            step = transition(process, t, following)
            scores = torch.stack([predict(y, t) for predict in bound]) / -process.noise(t)
            xi = math.sqrt(step.beta) * random() if following >= 0 else torch.zeros_like(y)
            if mode == "and" and len(bound) > 2:
                pull = equalising(scores, xi, step.beta)
            elif mode == "and":
                gap = scores[0] - scores[1]
                # beta kappa (s_1 - s_2), written so that it is bounded where the scores agree
                along = (xi * gap).sum(1, keepdim=True) / (gap**2).sum(1, keepdim=True).clamp(1e-30)
                pull = step.beta * (scores[0] + scores[1]) / 2 - along * gap
            else:
                share = (log_p / temperature).softmax(0).unsqueeze(2)
                pull = step.beta * (share * scores).sum(0)
            gained = ((pull + xi) * scores).sum(2) - step.beta / 2 * (scores**2).sum(2)
            log_p = log_p + gained
            y = (y + pull) * step.scale + xi
        return {"samples": y}, len(bound) * len(visited)

    denoisers = list(members.values())
    return in_chunks(denoisers, c, generator, body, draws=draws, chunk=chunk, progress=progress)


def equalising(scores: Tensor, xi: Tensor, beta: float) -> Tensor:
    r"""The pull :math:`\beta s` by which all running log densities gain the same, ``[n, dy]``.

    Nearest to that of the mean score, for ``scores [members, n, dy]`` and the noise ``xi [n, dy]``.

    With gaps :math:`g_i = s_i - \bar s` it solves :math:`\langle \beta s + \xi, g_i \rangle =
    \tfrac{\beta}{2} (\lVert s_i \rVert^2 - \overline{\lVert s \rVert^2})` for all i, by least
    squares where y has fewer coordinates than that. Gaps of a millionth of the scores are rounding.
    """
    middle = scores.mean(0)
    gaps = (scores - middle).transpose(0, 1)  # [n, members, dy]
    squares = (scores**2).sum(2).T
    due = beta / 2 * (squares - squares.mean(1, keepdim=True))
    due = due - torch.einsum("nkd,nd->nk", gaps, beta * middle + xi)
    inverse = torch.linalg.pinv(gaps.double(), atol=1e-6 * squares.sum(1).sqrt().double())
    return beta * middle + torch.einsum("ndk,nk->nd", inverse, due.double()).to(middle)
