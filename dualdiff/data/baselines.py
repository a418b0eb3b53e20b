"""What a sensible person would fit to the special pairs without diffusion, in our scenarios."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from dualdiff.compose import Weighted, joint
from dualdiff.correct import product
from dualdiff.data.peers import flow
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactMixture
from dualdiff.experiments.members import RECIPES, Networks, Rows
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.scenarios import BOOK, Scenario, cabinet, make_scenario
from dualdiff.experiments.sizes import size_of, sized
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import ScenarioTrial, trials
from dualdiff.experiments.trained import Asked
from dualdiff.process import Process
from dualdiff.randomness import one_thread, stream
from dualdiff.regions import Box, Disc, Region
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample

Draw = Callable[[int, torch.Generator], Tensor]
"""A number and a generator to offsets ``[n, dy]``."""
WIDTHS = torch.logspace(-2, 0.5, 61, dtype=torch.float64).tolist()
"""Bandwidths that :func:`bandwidth` tries, in standard deviations of each coordinate."""
MOST = 10
"""Components of a Gaussian mixture at most."""
CONSTANT = 1e-4
"""A coordinate whose deviation is below this share of the largest is one number, and stays it."""


def _varying(offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, deviation, and which coordinates vary, of ``offsets [n, dy]``."""
    mean, std = offsets.mean(0), offsets.std(0)
    return mean, std, std > CONSTANT * std.max()


def bandwidth(offsets: Tensor) -> Tensor:
    r"""Widths of a Gaussian kernel on rows, ``[dy]``, by the likelihood of each under the others.

    .. math:: h = \arg\max_h \sum_i \log \frac{1}{n - 1} \sum_{j \ne i}
              N(x_i;\, x_j,\, h^2 \mathrm{diag}(s_1^2, \dots, s_d^2))

    with the standard deviations s of the coordinates, over :data:`WIDTHS`. Zero for a coordinate
    that does not vary.

    Raises
    ------
    ValueError
        For fewer than 2 rows.

    Notes
    -----
    Duin (1976), "On the choice of smoothing parameters for Parzen estimators".
    """
    if len(offsets) < 2:
        raise ValueError(f"a kernel estimate needs at least 2 rows, not {len(offsets)}")
    _, std, vary = _varying(offsets.double())
    x = offsets.double()[:, vary] / std[vary]
    square = torch.cdist(x, x) ** 2
    square.fill_diagonal_(math.inf)
    scores = [
        float((-square / (2 * h**2)).logsumexp(1).sum()) - x.numel() * math.log(h) for h in WIDTHS
    ]
    return WIDTHS[scores.index(max(scores))] * torch.where(vary, std, 0.0)


def kernel_denoiser(process: Process, offsets: Tensor) -> ExactMixture:
    """The kernel estimate of :func:`bandwidth` as an exact denoiser: nothing is trained."""
    covariance = torch.diag(bandwidth(offsets) ** 2).expand(len(offsets), -1, -1)
    return ExactMixture(process, torch.ones(len(offsets)), offsets.double(), covariance)


def resampled(offsets: Tensor, region: Region, generator: torch.Generator) -> Draw:
    """The rows themselves, drawn again."""
    return lambda n, source: offsets[torch.randint(len(offsets), (n,), generator=source)]


def kernel(offsets: Tensor, region: Region, generator: torch.Generator) -> Draw:
    """The rows with Gaussian noise of :func:`bandwidth` on them."""
    widths, again = bandwidth(offsets).float(), resampled(offsets, region, generator)

    def draw(n: int, source: torch.Generator) -> Tensor:
        return again(n, source) + widths * torch.randn(n, len(widths), generator=source)

    return draw


def gaussians(offsets: Tensor, region: Region, generator: torch.Generator) -> Draw:
    """A mixture of Gaussians with full covariances, as many as the BIC asks for (scikit-learn).

    Raises
    ------
    ValueError
        For fewer than 4 rows.
    """
    if len(offsets) < 4:
        raise ValueError(f"a mixture of Gaussians needs at least 4 rows, not {len(offsets)}")
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mean, std, vary = _varying(offsets)
    x = ((offsets - mean) / std)[:, vary].double().numpy()
    seed = int(torch.randint(2**31, (), generator=generator))
    with threadpool_limits(1):
        found = [
            GaussianMixture(k, n_init=3, reg_covar=1e-4, random_state=seed).fit(x)
            for k in range(1, 1 + min(MOST, len(x) // 4))
        ]
    best = min(found, key=lambda one: one.bic(x))
    weights, means = torch.from_numpy(best.weights_), torch.from_numpy(best.means_).float()
    roots = torch.linalg.cholesky(torch.from_numpy(best.covariances_)).float()

    def draw(n: int, source: torch.Generator) -> Tensor:
        which = torch.multinomial(weights, n, replacement=True, generator=source)
        noise = torch.randn(n, means.shape[1], 1, generator=source)
        return _placed(means[which] + (roots[which] @ noise).squeeze(2), mean, std, vary)

    return draw


def splines(offsets: Tensor, region: Region, generator: torch.Generator) -> Draw:
    """A neural spline flow, as :func:`dualdiff.data.peers.flow` trains it, without conditions."""
    mean, std, vary = _varying(offsets)
    rows = ((offsets - mean) / std)[:, vary], torch.zeros(len(offsets), 1)
    made = flow(rows, None, generator, lambda _, make: make())

    def draw(n: int, source: torch.Generator) -> Tensor:
        return _placed(made(torch.zeros(n, 1), 1, source).squeeze(1), mean, std, vary)

    return draw


def _placed(x: Tensor, mean: Tensor, std: Tensor, vary: Tensor) -> Tensor:
    """Standardised coordinates that vary, among those that do not."""
    y = mean.repeat(len(x), 1)
    y[:, vary] += x * std[vary]
    return y


def outline(offsets: Tensor, region: Region, generator: torch.Generator) -> Draw:
    r"""Uniform on a shape of the true family, its numbers estimated from the rows.

    A box reaches from the least to the largest coordinate and beyond by :math:`r / (n - 1)` with
    their range r, which makes its size unbiased. A disc has the rows' centre and height and the
    radius :math:`\sqrt{2\, \overline{\lVert x - \bar x \rVert^2}\, n / (n - 1)}`.

    Raises
    ------
    ValueError
        For another family, and fewer than 2 rows.
    """
    if len(offsets) < 2:
        raise ValueError(f"an outline needs at least 2 rows, not {len(offsets)}")
    if isinstance(region, Box):
        low, high = offsets.amin(0), offsets.amax(0)
        beyond = (high - low) / (len(offsets) - 1)
        shape: Region = Box(tuple((low - beyond).tolist()), tuple((high + beyond).tolist()))
    elif isinstance(region, Disc):
        *centre, height = offsets.mean(0).tolist()
        radius = float((2 * offsets[:, :2].var(0).sum()).sqrt())
        shape = Disc(radius, tuple(centre), height)
    else:
        raise ValueError(f"no outline for a region of type {type(region).__name__}: Box or Disc")
    return lambda n, source: shape.draw(torch.zeros(n, offsets.shape[1]), source)


FITS: dict[str, Callable[[Tensor, Region, torch.Generator], Draw]] = {
    "resampled": resampled,
    "kernel": kernel,
    "gaussians": gaussians,
    "splines": splines,
    "outline": outline,
}
"""What is fitted to the offsets ``y - c`` of the special rows, the frame of the object known.
``outline`` knows the family of the shape, too."""
ENSEMBLE = 4
"""Networks of an ensemble; a sample costs what one of twice their width costs."""
COMPOSED = ("kernel_joint", "kernel_smc", "kernel_average", "ensemble", "ensemble_eighth", "wide")
"""The kernel estimate with the general network (sum, SMC), averaged with the specialised one;
specialised networks of several seeds averaged, the same with an eighth of the general one; one
network of twice the width."""


@dataclass(frozen=True)
class Again(Networks):
    """Networks of other weights and another order on the rows of seed ``rows_seed``."""

    rows_seed: int = 0

    def rows(self, which: str) -> Rows:
        """The rows that the networks of seed ``rows_seed`` learn from."""
        return Networks.rows(replace(self, seed=self.rows_seed), which)

    def _config(self, name: str, epochs: int) -> dict[str, Any]:
        return {**super()._config(name, epochs), "rows_seed": self.rows_seed}


def several(networks: Networks) -> list[Networks]:
    """The networks of an ensemble, all on the same rows; the first is the given one."""
    fields = {name: value for name, value in vars(networks).items() if name != "general"}
    fields["rows_seed"] = networks.seed
    others = [fields | {"seed": networks.seed + 1000 * k} for k in range(1, ENSEMBLE)]
    return [networks, *(Again(**own) for own in others)]


def wider(networks: Networks) -> Networks:
    """Networks of twice the width."""
    recipe = networks.recipe
    shape = replace(recipe.architecture, width=2 * recipe.architecture.width)
    return replace(networks, recipe=replace(recipe, name="wide", architecture=shape))


@dataclass(frozen=True)
class BaselineTrial(ScenarioTrial):
    """One of :data:`FITS` or :data:`COMPOSED` on the special rows of a scenario and seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.configuration not in (*FITS, *COMPOSED):
            known = ", ".join((*FITS, *COMPOSED))
            raise ValueError(f"configuration must be one of {known}, not {self.configuration!r}")

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {**super().config(device), "kind": "baseline"}

    def asked(self, store: Store, device: torch.device | str = "cpu") -> list[Asked]:
        """The specialised networks that it needs."""
        networks = self.networks(store, device)
        if networks is None or self.configuration in (*FITS, "kernel_joint", "kernel_smc"):
            return []
        some = {"wide": [wider(networks)], "kernel_average": [networks]}
        return [one.asked("specialised") for one in some.get(self.configuration, several(networks))]

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Samples ``[n, draws, dy]`` at the conditions."""
        if networks is None:
            raise ValueError("baselines learn from rows, which exact members do not have")
        y, c = networks.rows("specialised")
        source, draws = stream(self.seed, "test samples"), self.profile.draws
        if fit := FITS.get(self.configuration):
            package = {"gaussians": "sklearn", "splines": "zuko"}.get(self.configuration, "torch")
            if find_spec(package) is None:
                raise ValueError(
                    f"{package} is not installed, which the baseline {self.configuration} needs; "
                    "install it with: pip install 'dualdiff[real]'"
                )
            with one_thread():
                made = fit(y - c, self.scenario.specialised, stream(self.seed, "baseline"))
                offsets = made(len(conditions) * draws, source)
            return conditions[:, None] + offsets.view(len(conditions), draws, -1), {}
        rule = composed(self.configuration, networks)
        if self.configuration == "kernel_smc":
            assert isinstance(rule, Weighted)
            groups = Resampling(max(k for k in range(1, 51) if draws % k == 0))
            run = product(rule, conditions, source, draws=draws, resampling=groups)
            return run.samples, {"unique": float(run.unique.mean())}
        return sample(rule, conditions, source, draws=draws), {}


def composed(name: str, networks: Networks) -> Denoiser:
    """A denoiser of :data:`COMPOSED`, its networks trained or loaded."""
    if name == "wide":
        return wider(networks).specialised().network
    if name.startswith("ensemble"):
        some = {str(k): one.specialised().network for k, one in enumerate(several(networks))}
        mean = Weighted(some, dict.fromkeys(some, 1 / len(some)))
        if name == "ensemble":
            return mean
        both = {"general": networks.general.network, "ensemble": mean}
        return Weighted(both, {"general": 1 / 8, "ensemble": 1.0})
    other = networks.specialised() if name == "kernel_average" else networks.general
    y, c = networks.rows("specialised")
    rule = joint(other.network, kernel_denoiser(other.network.process, y - c))
    return Weighted(rule.members, dict.fromkeys(rule.members, 0.5)) if "average" in name else rule


def beside(
    world: Scenario, size: Profile, seed: int, names: Sequence[str] = (*FITS, *COMPOSED)
) -> list[BaselineTrial]:
    """Baselines under recipe ``tuned`` for every seed of a size, judged as its networks are."""
    laws, recipe = {"specialised": world.specialised}, RECIPES["tuned"]
    seeds = range(seed, seed + size.seeds)
    return [BaselineTrial(world, recipe, size, s, name, laws) for s in seeds for name in names]


def baseline_trials(profile: Profile) -> list[ScenarioTrial]:
    """Baselines over set sizes in the cabinet, and in both worlds beside all networks."""
    sizes = size_of("adaptation", profile.name).sizes
    found: list[ScenarioTrial] = []
    for n in sizes:
        found += beside(cabinet(), sized("adaptation", profile.name, n_specialised=n), 0)
    size = sized("adaptation", profile.name)
    for world in map(make_scenario, BOOK):
        laws = {"specialised": world.specialised}
        names = ("general", "specialised", "finetuned", "joint")
        found += trials(world, [RECIPES["tuned"]], size, 0, laws, names)
        found += beside(world, size, 0)
    return found
