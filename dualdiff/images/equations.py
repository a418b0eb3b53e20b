"""An equation as an expert: coefficient and solution of a diffusion equation, seen in few cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from dualdiff.denoisers import Denoiser
from dualdiff.energy import Energy, LogDensity, Observation, twisted
from dualdiff.experiments.members import Rows
from dualdiff.images import members
from dualdiff.images.judge import Scored, Space, averaged
from dualdiff.process import Process, transition
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample

GRID = 16
CELLS = GRID**2
LENGTH = 0.25  # of the coefficient's correlation, in sides of the square
STD = 0.01  # of what is observed, in logarithms: about 1 %
TOLERANCE = 0.02  # of that and of what the components lack, together
KEPT = 64  # principal components of both fields together


@lru_cache(maxsize=1)
def prior() -> Tensor:
    r"""Covariance ``[256, 256]`` of log a: :math:`\exp(-|x - x'|^2 / 2 \ell^2)` at cell centres."""
    x = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    line = torch.exp(-((x[:, None] - x) ** 2) / (2 * LENGTH**2))
    return torch.kron(line, line)


def _flows(a: Tensor) -> tuple[Tensor, Tensor]:
    """Conductances of faces ``[n, 16, 17]`` and ``[n, 17, 16]``: harmonic means, and twice the cell
    at the border, which is half a cell away."""
    a = a.view(-1, GRID, GRID)

    def one(a: Tensor) -> Tensor:
        left, right = a[..., :-1], a[..., 1:]
        inner = 2 * left * right / (left + right)
        return torch.cat([2 * a[..., :1], inner, 2 * a[..., -1:]], -1) * CELLS

    return one(a), one(a.mT).mT


def operator(a: Tensor, u: Tensor) -> Tensor:
    r""":math:`-\nabla \cdot (a \nabla u)` in cells ``[n, 256]``, u zero at the border: finite
    volumes on a square of side 1."""
    across, down = _flows(a)
    u = u.view(-1, GRID, GRID)
    flow = (across * pad(u, (1, 1)).diff(dim=2)).diff(dim=2)
    return -(flow + (down * pad(u, (0, 0, 1, 1)).diff(dim=1)).diff(dim=1)).flatten(1)


def solved(a: Tensor) -> Tensor:
    """The u ``[n, 256]`` whose :func:`operator` is 1 everywhere, exactly (banded Cholesky)."""
    from scipy.linalg import solveh_banded

    across, down = (flow.double().numpy() for flow in _flows(a))
    bands = np.zeros((len(a), GRID + 1, GRID, GRID))
    bands[:, 0] = across[..., 1:] + across[..., :-1] + down[:, 1:] + down[:, :-1]
    bands[:, 1, :, :-1] = -across[..., 1:-1]
    bands[:, GRID, :-1] = -down[:, 1:-1]
    ones = np.ones(CELLS)
    found = [solveh_banded(one.reshape(GRID + 1, -1), ones, lower=True) for one in bands]
    return torch.from_numpy(np.stack(found)).to(a)


def centred(covariance: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draws ``[n, d]`` of the Gaussian with mean 0 and a covariance ``[d, d]``."""
    variances, basis = torch.linalg.eigh(covariance)
    z = torch.randn(n, len(covariance), generator=generator, dtype=torch.float64)
    return z @ (basis * variances.clamp(min=0).sqrt()).T


def drawn(n: int, generator: torch.Generator) -> Tensor:
    """Logarithms of coefficients and their solutions, side by side, ``[n, 512]``."""
    z = centred(prior(), n, generator)
    return torch.cat([z, solved(z.exp()).log()], 1).float()


@lru_cache(maxsize=1)
def moments() -> tuple[Tensor, Tensor]:
    """Mean ``[512]`` and covariance ``[512, 512]`` of both fields, from 20,000 draws."""
    fields = drawn(20_000, stream(0, "moments")).double()
    return fields.mean(0), fields.T.cov()


@lru_cache(maxsize=1)
def space() -> Space:
    """The 64 principal components of both fields together."""
    mean, covariance = moments()
    variances, basis = (part.float().flip(-1) for part in torch.linalg.eigh(covariance))
    return Space(mean.float(), basis.T[:KEPT].contiguous(), variances[:KEPT].sqrt())


def decoded(z: Tensor) -> Tensor:
    """Both fields' logarithms ``[n, 512]`` at components ``[n, 64]``."""
    return z @ space().basis.to(z) + space().mean.to(z)


@lru_cache(maxsize=1)
def _smoother() -> Tensor:
    """The inverse of the operator for a = 1, ``[256, 256]``, over the mean of its solution."""
    one = torch.ones(1, CELLS, dtype=torch.float64)
    eye = torch.eye(CELLS, dtype=torch.float64)
    inverse = operator(one.expand(CELLS, -1), eye).inverse()
    return (inverse / solved(one).mean()).float()


def residual(fields: Tensor) -> Tensor:
    r""":math:`\Delta^{-1} (-\nabla \cdot (a \nabla u) - 1)` ``[n, 256]`` over the mean solution for
    a = 1: about the relative error of u that the equation sees, where the bare residual is ruled by
    the finest differences."""
    a, u = fields.exp().split(CELLS, 1)
    return (operator(a, u) - 1) @ _smoother().to(fields).T


class Equation:
    r"""Log density of the equation, a :data:`~dualdiff.energy.LogDensity` of components.

    .. math:: \log g(\hat y_0, \sigma_t) = -\frac{w}{2}
              \log\Bigl(1 + \frac{\lvert r \rvert^2}{s_t^2}\Bigr)

    with the mean square of the :func:`residual` r over the cells, and :math:`s_t^2` its mean over
    clean predictions of true fields at this noise: what a model expects of noised fields does not
    fulfil the equation, the less the more noise there is.

    Parameters
    ----------
    network : Denoiser
    weight : float
        w: near r = 0 it counts like w independent residuals; for large ones the pull is bounded.
    """

    def __init__(self, network: Denoiser, weight: float) -> None:
        self.weight, process = weight, network.process
        source = stream(0, "residual")
        z = process.encode_y(space().encode(drawn(256, source)))
        c = z.new_zeros(len(z), process.dc)
        self.square = {0.0: float(residual(decoded(process.decode_y(z))).square().mean())}
        with torch.no_grad():
            for t in range(process.steps):
                noise, signal = process.noise(t), process.signal(t)
                y = process.diffuse(z, t, torch.randn(z.shape, generator=source))
                clean = process.decode_y((y - noise * network(y, t, c)) / signal)
                self.square[noise] = float(residual(decoded(clean)).square().mean())

    def __call__(self, y: Tensor, noise: float) -> Tensor:
        square = residual(decoded(y)).square().mean(1) / self.square[noise]
        return -self.weight / 2 * torch.log1p(square)


equation = lru_cache(maxsize=4)(Equation)
"""The equation for a network, measured once."""


class Case(NamedTuple):
    """A true pair of fields ``[512]``, and the cells of either that are observed, ``[m]`` of 512,
    with what is seen there."""

    fields: Tensor
    cells: Tensor
    values: Tensor


FIELD = {"coefficient": slice(0, CELLS), "solution": slice(CELLS, 2 * CELLS)}
PROBLEMS = {"forward": (0, CELLS), "inverse": (CELLS, 2 * CELLS), "both": (0, 2 * CELLS)}


def case(problem: str, observed: int, number: int, seed: int) -> Case:
    """Case ``number``: few cells of a (``forward``), of u (``inverse``) or of both."""
    source = stream(seed, "case", number)
    fields = drawn(1, source)[0]
    low, high = PROBLEMS[problem]
    cells = low + torch.randperm(high - low, generator=source)[:observed]
    return Case(fields, cells, fields[cells] + STD * torch.randn(observed, generator=source))


FIELDS = replace(members.GLYPHS, name="fields")
PROFILED = "n_general general_epochs n_specialised specialised_epochs conditions seeds".split()
SIZES = {
    "smoke": dict(zip(PROFILED, (500, 1, 100, 1, 2, 1), strict=True)),
    "quick": dict(zip(PROFILED, (20_000, 20, 500, 400, 10, 1), strict=True)),
    "full": dict(zip(PROFILED, (40_000, 40, 500, 400, 16, 3), strict=True)),
}
DRAWS, GROUP = 50, 200
WEIGHTS = (4.0, 16.0, 64.0)  # of the equation
FACTORS = (0.3, 1.0)  # of the normalised step
OBSERVED = (4, 8, 16, 32, 64)
BEFORE = {"residual": "data", "smc_residual": "smc", "few_residual": "few"}  # without the equation


@dataclass(frozen=True)
class Fields(members.Pictures):
    """Coefficients with their solutions as what a network is trained on, told nothing; of new ones
    ``observed`` cells are seen, of what ``problem`` says (:data:`PROBLEMS`)."""

    problem: str = "forward"
    observed: int = 16

    def __post_init__(self) -> None:
        if self.problem not in PROBLEMS or not 1 <= self.observed <= CELLS:
            raise ValueError(
                f"problem must be one of {', '.join(PROBLEMS)}, and observed from 1 to {CELLS}, "
                f"not {self.problem!r} and {self.observed}"
            )

    @property
    def name(self) -> str:
        """Column ``scenario``."""
        return f"{self.problem}, {self.observed} observed"

    @property
    def units(self) -> members.Units:
        """Of components."""
        return members.one_unit(space().spread)

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Components of n draws, and no conditions; of 'specialised' few ones."""
        return space().encode(drawn(n, generator)), torch.zeros(n, 0)

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        return {"fields": LENGTH}


def seen(one: Case, process: Process, covariance: Tensor | None) -> Observation:
    """Log density of what is observed, for components. What 64 of them cannot show counts as noise
    of the observation."""
    matrix = space().basis[:, one.cells].T
    return Observation(process, matrix, one.values - space().mean[one.cells], TOLERANCE, covariance)


def normalised(one: Case, process: Process, factor: float) -> LogDensity:
    r"""Guidance as the papers have it: :math:`\zeta` times the gradient of the misfit's norm.

    .. math:: \log h = -\zeta\, \lVert o - A \hat y_0 \rVert / \beta_t

    in units of the observations' logarithms (Chung et al. 2023, algorithm 1)."""
    matrix, values = space().basis[:, one.cells].T, one.values - space().mean[one.cells]
    beta = {process.noise(t): transition(process, t, t - 1).beta for t in range(process.steps)}
    return lambda y, noise: -factor / beta[noise] * (values - y @ matrix.T).norm(dim=1)


def conditioned(
    mean: Tensor, covariance: Tensor, one: Case, n: int, generator: torch.Generator
) -> Tensor:
    """Draws ``[n, d]`` of a Gaussian, given what is observed: kriging."""
    noise = STD**2 * torch.eye(len(one.cells), dtype=torch.float64)
    gain = torch.linalg.solve(covariance[one.cells][:, one.cells] + noise, covariance[one.cells]).T
    left = covariance - gain @ covariance[one.cells]
    known = mean + gain @ (one.values.double() - mean[one.cells])
    return known + centred((left + left.T) / 2, n, generator)


class EquationTrial(members.ImageTrial):
    """Fields of which few cells are observed, drawn in one way and compared with the true ones.

    ``kriging``: the Gaussian with the moments of both fields. ``exact``: the posterior
    (``forward`` only). ``data``: the general network guided by what is observed; ``identity``:
    with the unit covariance; ``"normalised at Z"``: by Z times the gradient of a norm.
    ``"residual at W"``: by the equation, too, of weight W. ``smc``, ``"smc_residual at W"``:
    corrected. ``few``, ``"few_residual at W"``: a network of few rows.
    """

    world: Fields
    store_kind = "equations"
    recipe = FIELDS
    ways: ClassVar = (
        *("kriging", "exact", "data", "identity", "smc", "few"),
        *(f"{way} at W" for way in ("normalised", *BEFORE)),
    )

    def drawn(self, network: Denoiser, one: Case, source: torch.Generator) -> Tensor:
        """Fields ``[50, 512]`` in logarithms."""
        (method, weights), process = self.parts(), network.process
        if method == "kriging":
            return conditioned(*moments(), one, DRAWS, source).float()
        if method == "exact":  # log a is Gaussian, and u the solution
            a = conditioned(torch.zeros(CELLS).double(), prior(), one, DRAWS, source)
            return torch.cat([a, solved(a.exp()).log()], 1).float()
        if method == "normalised":
            known: LogDensity = normalised(one, process, weights[0])
        else:
            spread = space().spread / process.y_std
            known = seen(one, process, None if method == "identity" else spread.square().diag())
        rule, c = Energy(network, known), torch.zeros(1, 0)
        if method.endswith("residual"):
            law = equation(network, weights[0])
            rule = Energy(network, lambda y, noise: known(y, noise) + law(y, noise))
        if method.startswith("smc"):
            groups = Resampling(GROUP)
            return decoded(twisted(rule, c, source, resampling=groups, keep=DRAWS).samples[0])
        return decoded(sample(rule, c, source, draws=DRAWS)[0])

    def found(self, networks: members.PictureNetworks) -> dict[str, Scored]:
        """Means over cases, with intervals: ``relative`` error of the draws' mean (1: the mean
        field), ``coverage`` of their central 90 % and their ``spread``, of both fields; size of the
        ``residual`` of a draw; and, with the equation, what it changes (``gain``)."""
        method, _ = self.parts()
        if method == "exact" and self.world.problem != "forward":
            raise ValueError("exact is for problem forward only")
        few = method.startswith("few")
        network = (networks.specialised() if few else networks.general).network
        rows = list[dict[str, dict[str, float]]]()
        for k in range(self.profile.conditions):
            one = case(self.world.problem, self.world.observed, k, self.seed)
            rows.append(self.errors(network, one, k))
            if method in BEFORE:
                without = replace(self, configuration=BEFORE[method]).errors(network, one, k)
                for field in FIELD:
                    gain = without[field]["relative"] - rows[-1][field]["relative"]
                    rows[-1][field]["gain"] = gain
        return {
            t: {m: averaged(torch.tensor([row[t][m] for row in rows])) for m in own}
            for t, own in rows[0].items()
        }

    def errors(self, network: Denoiser, one: Case, k: int) -> dict[str, dict[str, float]]:
        """What draws for case k score."""
        draws = self.drawn(network, one, stream(self.seed, "posterior", k))
        return compared(draws, one.fields)


def compared(draws: Tensor, true: Tensor) -> dict[str, dict[str, float]]:
    """What draws ``[n, 512]`` score against the true fields ``[512]``, by target and metric."""
    low, high = draws.quantile(torch.tensor([0.05, 0.95]), 0)
    inside, mean = ((true >= low) & (true <= high)).float(), moments()[0].float()
    found = {"samples": {"residual": float(residual(draws).square().mean(1).sqrt().median())}}
    for name, part in FIELD.items():
        found[name] = {
            "relative": float((draws.mean(0) - true)[part].norm() / (true - mean)[part].norm()),
            "coverage": float(inside[part].mean()),
            "spread": float(draws.std(0)[part].mean()),
        }
    return found


def equation_trials(profile: str, seed: int) -> list[EquationTrial]:
    """All problems over the number of cells; other ways and weights where 16 are observed."""
    size, pairs = members.sized(SIZES, profile), list[tuple[Fields, str]]()
    main = ["kriging", "data", "residual at 16", "smc"]
    others = ["identity", *(f"normalised at {z:g}" for z in FACTORS), "smc_residual at 4", "few"]
    others += [f"{way} at {w:g}" for way in ("residual", "few_residual") for w in WEIGHTS]
    for problem, m in product(PROBLEMS, OBSERVED):
        ways = main + others * (m == 16) + ["exact"] * (problem == "forward")
        pairs += [(Fields(problem, m), way) for way in dict.fromkeys(ways)]
    seeds = range(seed, seed + size.seeds)
    return [EquationTrial(world, size, s, way) for s in seeds for world, way in pairs]
