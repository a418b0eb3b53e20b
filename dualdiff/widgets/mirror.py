"""The widget's reverse process in torch, from the same noise as in the browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.correct import Members, feynman_kac_step
from dualdiff.denoisers import Denoiser
from dualdiff.process import transition
from dualdiff.resampling import Resampling, resample
from dualdiff.samplers import DDPM, DPMSolverPP, Sampler, reverse
from dualdiff.widgets.base import Refused
from dualdiff.widgets.stages import SIZES, Stage

RULES = {
    "sum": "weighted sum",
    "composable": "composable diffusion",
    "guidance": "generalised guidance",
    "smc": "weighted sum, corrected by SMC",
}
"""Rules of the widget and their titles."""
SAMPLERS: dict[str, type[Sampler]] = {"ancestral": DDPM, "dpm++": DPMSolverPP}
"""Samplers of the widget; SMC always takes ancestral steps."""
RESAMPLING = Resampling(SIZES.step, 0.5)
GOLDEN = 0x9E3779B9
UNIFORM_STREAM = 1 << 20
"""Steps from here on are streams of uniform numbers."""


# --- noise --------------------------------------------------------------------------------------


def _mixed(x: np.ndarray) -> np.ndarray:
    """The 32-bit finaliser of MurmurHash3, on unsigned numbers."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def uniforms(seed: int, step: int, count: int) -> np.ndarray:
    """``count`` numbers of (0, 1), float64: number i of a step hangs on (seed, step, i) alone.

    So fewer samples are the first of many, and a browser draws the same ones. A hash and no more:
    for pictures, not for results, which take a ``torch.Generator``.
    """
    golden = np.array([GOLDEN], dtype=np.uint32)
    key = _mixed(np.array([seed & 0xFFFFFFFF], dtype=np.uint32) + golden)
    key = _mixed(key + np.uint32(step) + golden)
    places = np.arange(count, dtype=np.uint32)
    return (_mixed(key + places + golden).astype(np.float64) + 0.5) / 2**32


def normals(seed: int, step: int, n: int, d: int) -> Tensor:
    """Standard normal numbers ``[n, d]`` of a step, float64 (Box and Muller 1958)."""
    u = torch.from_numpy(uniforms(seed, step, 2 * n * d)).view(n, d, 2)
    return (-2 * u[..., 0].log()).sqrt() * (2 * math.pi * u[..., 1]).cos()


class HashNoise:
    """Random numbers as :func:`dualdiff.samplers.reverse` and a corrected chain ask for them."""

    def __init__(self, seed: int, n: int, dy: int, dtype: torch.dtype) -> None:
        self.seed, self.shape, self.dtype = seed, (n, dy), dtype
        self.steps = self.resamplings = 0

    def __call__(self) -> Tensor:
        """Standard normal numbers, ``[n, dy]``."""
        self.steps += 1
        return normals(self.seed, self.steps - 1, *self.shape).to(self.dtype)

    def uniform(self) -> Tensor:
        """Uniform numbers, ``[n]``."""
        self.resamplings += 1
        step = UNIFORM_STREAM + self.resamplings - 1
        return torch.from_numpy(uniforms(self.seed, step, self.shape[0]))


# --- sampling -----------------------------------------------------------------------------------


class Translated(Denoiser):
    r"""The law of a denoiser, moved by d: :math:`\varepsilon(y - \sqrt{\bar\alpha_t}\, d, t)`.

    ``shift``: d in original units, of the first coordinates of y; the others stay.
    """

    def __init__(self, member: Denoiser, shift: Sequence[float]) -> None:
        super().__init__()
        self.member, self.process = member, member.process
        by = torch.zeros(self.process.dy, dtype=torch.float64)
        by[: len(shift)] = torch.tensor(shift, dtype=torch.float64)
        self.by = by / self.process.y_std.double()

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        moved: Tensor = self.member(y - self.process.signal(t) * self.by.to(y), t, c)
        return moved


@dataclass(frozen=True)
class Request:
    """What the widget asks for; see the traits of :class:`~dualdiff.widgets.Composition`."""

    rule: str
    w_general: float
    w_specialised: float
    guidance: float
    sampler: str
    steps: int
    points: int
    seed: int
    condition: tuple[float, ...]
    w_wall: float = 0.0
    wall: float = 0.5
    shift: tuple[float, ...] = (0.0, 0.0)

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the members' noise predictions; guidance leaves the wall out."""
        g, s, w = self.w_general, self.w_specialised, self.w_wall
        if self.rule == "guidance":
            g, s, w = 1 - self.guidance, self.guidance, 0.0
        rest = 1 - g - s - w if self.rule == "composable" else 0.0
        return {"general": g, "specialised": s, "unconditional": rest, "wall": w}

    def members(self, stage: Stage) -> dict[str, Denoiser]:
        """Those of the scene, the specialised one moved, and its wall where it has a weight.

        Raises
        ------
        Refused
            If the scene has no wall.
        """
        found = dict(stage.members)
        if any(self.shift):
            found["specialised"] = Translated(found["specialised"], self.shift)
        return {**found, **({"wall": stage.constraint(self.wall)} if self.walled else {})}

    @property
    def walled(self) -> bool:
        """Whether the wall has a weight."""
        return self.weights["wall"] != 0

    def check(self) -> None:
        """Whether there is something to sample.

        Raises
        ------
        Refused
            For weights without a positive sum.
        """
        if sum(self.weights.values()) <= 0:
            raise Refused(
                f"the weights must have a positive sum, not {self.w_general:g} and "
                f"{self.w_specialised:g}: there is no such product of densities"
            )


class Answer(NamedTuple):
    """Samples ``[n, dy]`` in original units; ancestors ``[n]`` of every step of SMC."""

    samples: Tensor
    ancestors: list[Tensor]


@torch.no_grad()
def run(stage: Stage, request: Request, dtype: torch.dtype = torch.float32) -> Answer:
    """What the browser computes, by the module's own samplers.

    Raises
    ------
    Refused
        For weights without a positive sum.
    """
    request.check()
    process = stage.process
    members = request.members(stage)
    rule = Weighted(members, {name: request.weights[name] for name in members})
    c = process.encode_c(torch.tensor(request.condition, dtype=dtype)).expand(request.points, -1)
    noise = HashNoise(request.seed, request.points, process.dy, dtype)
    if request.rule == "smc":
        y, ancestors = _corrected(rule, c, noise, request.steps)
    else:
        for state in reverse(rule, c, SAMPLERS[request.sampler](request.steps), noise):
            y, ancestors = state.y, []
    return Answer(process.decode_y(y), ancestors)


def _corrected(
    rule: Weighted, c: Tensor, noise: HashNoise, steps: int
) -> tuple[Tensor, list[Tensor]]:
    """The chain of :func:`dualdiff.correct.product`, with its ancestors."""
    process, members = rule.process, Members(rule, c)
    visited = DDPM(steps).timesteps(process)
    y = noise() * rule.start_std
    logs = y.new_zeros(len(y))
    ancestors = []
    for t, following in pairwise([*visited, -1]):
        step, sigma = transition(process, t, following), process.noise(t)
        eps = members(y, t)
        total = members.sum(eps, t)
        logs = logs + feynman_kac_step(eps, members.table[:, t], step.beta, sigma)
        result = resample(logs, noise.uniform(), RESAMPLING, following < 0)
        y, total, logs = y[result.places], total[result.places], result.log_weights
        ancestors.append(result.places)
        y = step.mean(y, total)
        if following >= 0:
            y = y + math.sqrt(step.beta) * noise()
    return y, ancestors
