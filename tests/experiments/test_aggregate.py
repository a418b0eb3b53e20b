"""AMDM and SuperDiff: what is known of compositions of states."""

import math

import pytest
import torch
from conftest import Quick, generator, line
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser, Predict
from dualdiff.experiments.aggregate import INTERPOLATIONS, amdm, deviate, interpolate, superdiff
from dualdiff.process import Process, transition
from dualdiff.samplers import DDPM, sample

PROCESS = Process.log_snr(60, 10, -8, dy=2, dc=2)
MEANS = ([0.8, -0.5], [-0.6, 0.4], [0.3, 0.9])
COVARIANCES = ([[0.5, 0.2], [0.2, 0.3]], [[1.0, -0.3], [-0.3, 0.6]], [[0.3, 0.0], [0.0, 0.8]])
A, B, D = (Quick(PROCESS, [1], [m], [v]) for m, v in zip(MEANS, COVARIANCES, strict=True))
C = torch.linspace(-2, 2, 32).view(16, 2)


def rows(seed: int, n: int = 200, d: int = 5) -> Tensor:
    return torch.randn(n, d, generator=generator(seed))


# --- interpolation ------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0, 1))
def test_spherical_keeps_the_norm_of_equal_norms(omega: float) -> None:
    x, z = (3 * torch.nn.functional.normalize(rows(seed)) for seed in (1, 2))
    y = interpolate(x, z, omega, "spherical")
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1), rtol=1e-4, atol=1e-4)
    # On the arc between them: the angles to both ends add up to the angle between the ends.
    angle = [((a * b).sum(1) / 9).clamp(-1, 1).acos() for a, b in ((x, y), (y, z), (x, z))]
    torch.testing.assert_close(angle[0] + angle[1], angle[2], rtol=1e-2, atol=2e-3)
    torch.testing.assert_close(angle[0], (1 - omega) * angle[2], rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("omega", [0.3, 0.5])
def test_variance_of_independent_rows(omega: float) -> None:
    """Kept by one form only; the straight line loses what the squares of its shares say."""
    n = 200_000
    x, z = rows(3, n, 1), rows(4, n, 1)
    for how, variance in (
        ("variance_preserving", 1.0),
        ("linear", omega**2 + (1 - omega) ** 2),
    ):
        found = float((interpolate(x, z, omega, how) ** 2).mean())  # type: ignore[arg-type]
        assert abs(found - variance) < 4 * variance * math.sqrt(2 / n)


@pytest.mark.parametrize("how", INTERPOLATIONS)
def test_ends_of_an_interpolation(how) -> None:  # type: ignore[no-untyped-def]
    x, z = rows(7), 2 * rows(8)
    torch.testing.assert_close(interpolate(x, z, 1.0, how), x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(interpolate(x, z, 0.0, how), z, rtol=1e-4, atol=1e-5)
    one = interpolate(x[:1], z[:1], 0.4, how)
    torch.testing.assert_close(interpolate(x, z, 0.4, how)[:1], one)  # row by row


def test_parallel_and_opposite_rows_are_interpolated_linearly() -> None:
    x = rows(9)
    x[0] = 0
    for z in (x, 2 * x, -x, 0 * x):
        y = interpolate(x, z, 0.3, "spherical")
        assert torch.isfinite(y).all()
    doubled = interpolate(x, 2 * x, 0.3, "spherical")
    torch.testing.assert_close(doubled, 1.7 * x, rtol=1e-3, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 20))
def test_deviation_never_overshoots(length: float) -> None:
    z, mean = rows(10), rows(11)
    moved, way = deviate(z, mean, length), (mean - z)
    expected = way.norm(dim=1).clamp(max=length)
    torch.testing.assert_close((moved - z).norm(dim=1), expected, rtol=1e-4, atol=1e-5)
    left = (mean - moved).norm(dim=1)
    torch.testing.assert_close(left, way.norm(dim=1) - expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(deviate(z, z, length), z)


# --- AMDM ---------------------------------------------------------------------------------------


def test_without_aggregation_the_first_model_samples_alone() -> None:
    for members in ({"a": A, "b": B}, {"a": A}, {"a": A, "b": B, "d": D}):
        run = amdm(members, C, generator(12), aggregated=0, draws=10)
        torch.testing.assert_close(run.samples, sample(A, C, generator(12), draws=10))
        assert run.calls == 60


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_share_of_one_is_the_first_model_in_law(interpolation) -> None:  # type: ignore[no-untyped-def]
    """All chains are pulled to the first: other noise, the same law. A wrong share is far off."""
    z, far = {}, Quick(PROCESS, [1], [[-3.0, 2.0]], [COVARIANCES[1]])
    for omega in (1.0, 0.5):
        how = {"aggregated": 60, "omega": omega, "interpolation": interpolation, "draws": 200}
        run = amdm({"a": A, "b": far}, C, generator(13), **how)
        y = run.samples.double() - C.unsqueeze(1) - torch.tensor(MEANS[0]).double()
        found = torch.cat([y, y**2 - torch.tensor([0.5, 0.3])], 2).mean(1)
        z[omega] = float((found.mean(0) / (found.std(0) / 4)).abs().max())
    assert z[1.0] < 4 and z[0.5] > 10


def amdm_by_hand(members: list[Denoiser], aggregated: int, omega: float, rho: float) -> Tensor:
    """Algorithm 1 with one sample per condition, loops written out, slerp as sines."""
    seeds = torch.randint(2**62, (1,), generator=generator(14)).tolist()
    stream = generator(seeds[0])

    def noise() -> Tensor:
        return torch.empty(16, 2).normal_(generator=stream).double()

    start = noise()
    states = [start for _ in members]
    for number, t in enumerate(range(59, -1, -1)):
        abar = float(PROCESS.alpha_bar[t])
        beta = 1 - abar / (float(PROCESS.alpha_bar[t - 1]) if t else 1.0)
        alone = number >= aggregated
        means = [
            (y - beta / math.sqrt(1 - abar) * m(y, t, C.double())) / math.sqrt(1 - beta)
            for m, y in zip(members[:1] if alone else members, states, strict=False)
        ]
        states = [mean + math.sqrt(beta) * noise() if t else mean for mean in means]
        if alone:
            continue
        z = states[0]
        for other in states[1:]:
            z = torch.stack([_slerp(a, b, omega) for a, b in zip(z, other, strict=True)])
        p = rho * math.sqrt(beta * 2)
        states = []
        for mean in means:
            gap = (z - mean).norm(dim=1, keepdim=True)
            states.append(z - torch.minimum(gap, torch.tensor(p)) * (z - mean) / gap)
    return states[0]


def _slerp(a: Tensor, b: Tensor, omega: float) -> Tensor:
    theta = torch.acos(a @ b / (a.norm() * b.norm()))
    return (torch.sin(omega * theta) * a + torch.sin((1 - omega) * theta) * b) / torch.sin(theta)


@pytest.mark.parametrize(("aggregated", "omega", "rho"), [(10, 0.5, 0.0), (25, 0.3, 0.4)])
def test_amdm_is_its_algorithm(aggregated: int, omega: float, rho: float) -> None:
    """Three models, so that the order of the folding counts."""
    how = {"aggregated": aggregated, "omega": omega, "deviation": rho}
    run = amdm({"a": A, "b": B, "d": D}, C, generator(14), **how)
    expected = amdm_by_hand([A, B, D], aggregated, omega, rho)
    torch.testing.assert_close(run.samples[:, 0].double(), expected, rtol=1e-3, atol=2e-3)
    assert run.calls == 3 * aggregated + 60 - aggregated


# --- SuperDiff ----------------------------------------------------------------------------------


class Recording(Denoiser):
    """A member that keeps the states it is asked about."""

    def __init__(self, member: Denoiser) -> None:
        super().__init__()
        self.process, self.member, self.states = member.process, member, []

    def _bind(self, c: Tensor) -> Predict:
        predict = self.member.bind(c)

        def recorded(y: Tensor, t: int) -> Tensor:
            self.states.append(y.double())
            return predict(y, t)

        return recorded


def running_log_densities(mode: str) -> Tensor:
    """Their difference along a run, followed again in float64 from the states: ``[S, n]``."""
    first = Recording(A)
    superdiff({"a": first, "b": B}, C, generator(15), mode=mode)  # type: ignore[arg-type]
    seeds = torch.randint(2**62, (1,), generator=generator(15)).tolist()
    stream = generator(seeds[0])
    start = torch.empty(16, 2).normal_(generator=stream)
    torch.testing.assert_close(first.states[0], start.double())
    difference, seen = torch.zeros(16).double(), []
    for i, t in enumerate(range(59, 0, -1)):
        y, y_next, beta = first.states[i], first.states[i + 1], transition(PROCESS, t, t - 1).beta
        xi = math.sqrt(beta) * torch.empty(16, 2).normal_(generator=stream).double()
        moved = math.sqrt(1 - beta) * (y_next - xi) - y + xi  # beta s + xi
        scores = [m(y, t, C.double()) / -PROCESS.noise(t) for m in (A, B)]
        gained = [(moved * s).sum(1) - beta / 2 * (s**2).sum(1) for s in scores]
        difference = difference + gained[0] - gained[1]
        seen.append(difference)
    return torch.stack(seen)


def test_and_keeps_the_running_log_densities_equal() -> None:
    assert running_log_densities("and").abs().max() < 1e-3
    assert running_log_densities("or").abs().max() > 1


def end_gaps(steps: int, covariances: tuple[object, object]) -> Tensor:
    """Difference of the two log densities where 500 samples of "and" end."""
    process = Process.log_snr(steps, 8, -8, dy=2, dc=2)
    a, b = (Quick(process, [1], [MEANS[i]], [covariances[i]]) for i in (0, 1))
    run = superdiff({"a": a, "b": b}, torch.zeros(1, 2), generator(16), mode="and", draws=500)
    y, c = run.samples[0], torch.zeros(500, 2)
    return a.log_density(y, 0, c) - b.log_density(y, 0, c)


def test_and_ends_where_densities_of_one_shape_are_equal() -> None:
    """Up to an error that vanishes with the steps."""
    coarse, fine = (end_gaps(steps, (COVARIANCES[0], COVARIANCES[0])) for steps in (50, 200))
    assert fine.std() < 0.5 * coarse.std() and fine.std() < 0.1
    assert fine.mean().abs() < 0.05


def test_and_of_other_shapes_ends_a_constant_from_equality() -> None:
    """What is kept equal are the estimates.

    Taking the noise out along the gap takes a part of Ito's term out too, and the densities end
    apart by the curvatures there: the same for every sample, and it does not vanish with the steps.
    """
    coarse, fine = (end_gaps(steps, (COVARIANCES[0], COVARIANCES[1])) for steps in (50, 200))
    assert fine.std() < 0.5 * coarse.std() and fine.std() < 0.1
    assert fine.mean() > 0.5 and (fine.mean() - coarse.mean()).abs() < 0.2


@pytest.mark.parametrize(
    ("mode", "names"), [("and", "ab"), ("or", "ab"), ("or", "abc"), ("or", "a")]
)
def test_a_model_with_itself_is_that_model(mode, names: str) -> None:  # type: ignore[no-untyped-def]
    run = superdiff(dict.fromkeys(names, A), C, generator(17), mode=mode, draws=10)
    expected = sample(A, C, generator(17), draws=10)
    torch.testing.assert_close(run.samples, expected, rtol=1e-3, atol=1e-4)
    assert mode == "and" or run.calls == 60 * len(names)


@pytest.mark.parametrize(
    ("seed", "laws"), [(19, [(-3.0, 0.2), (2.0, 0.6)]), (21, [(-4.0, 0.1), (0.0, 0.1), (4.0, 0.1)])]
)
def test_or_of_distant_gaussians_is_their_mixture(
    seed: int, laws: list[tuple[float, float]]
) -> None:
    """As much of each, whatever the variances, and within each part its own member's law."""
    process, n = Process.log_snr(200, 9, -9, dy=1, dc=1), 8_000
    members = {str(mean): line(process, (1.0, mean, variance)) for mean, variance in laws}
    run = superdiff(members, torch.zeros(1, 1), generator(seed), mode="or", draws=n)
    y = run.samples.double().view(-1)
    nearest = (y.unsqueeze(1) - torch.tensor([mean for mean, _ in laws])).abs().argmin(1)
    for k, (mean, variance) in enumerate(laws):
        part, share = y[nearest == k], 1 / len(laws)
        error = 4 * math.sqrt(share * (1 - share) / n)
        assert abs(len(part) / n - share) < error + 2 / process.steps
        assert abs(part.mean() - mean) < 4 * math.sqrt(variance / len(part)) + 2 / process.steps
        error = 4 * variance * math.sqrt(2 / len(part))
        assert abs(part.var() - variance) < error + 2 / process.steps


def test_a_high_temperature_averages_the_scores() -> None:
    """Softmax of next to nothing: the sum with half and half, which is another law."""
    how = {"mode": "or", "draws": 10}
    hot = superdiff({"a": A, "b": B}, C, generator(20), temperature=1e9, **how)
    half = sample(Weighted({"a": A, "b": B}, {"a": 0.5, "b": 0.5}), C, generator(20), draws=10)
    torch.testing.assert_close(hot.samples, half, rtol=1e-3, atol=1e-4)
    cold = superdiff({"a": A, "b": B}, C, generator(20), **how)
    assert not torch.allclose(cold.samples, half, atol=0.1)


def aggregated(**change: object) -> object:
    return amdm({"a": A, "b": B}, C, generator(), **{"aggregated": 5, **change})  # type: ignore[arg-type]


def composed(members: object, mode: object = "or", **change: object) -> object:
    return superdiff(members, C, generator(), mode=mode, **change)  # type: ignore[arg-type]


THREE = {"a": A, "b": B, "d": D}
SUM = {"sum": Weighted({"a": A, "b": B}, {"a": 1, "b": 1}), "d": D}
REFUSED = [
    (lambda: aggregated(aggregated=-1), "aggregated must be from 0 to 60 steps, not -1"),
    (lambda: aggregated(aggregated=61), "aggregated must be from 0 to 60 steps, not 61"),
    (lambda: aggregated(aggregated=11, sampler=DDPM(10)), "must be from 0 to 10 steps, not 11"),
    (lambda: aggregated(omega=1.5), "omega must be between 0 and 1, not 1.5"),
    (lambda: aggregated(omega=math.nan), "omega must be between 0 and 1, not nan"),
    (lambda: aggregated(interpolation="cubic"), "must be one of spherical.*not 'cubic'"),
    (lambda: aggregated(deviation=-0.1), "deviation must be at least 0 and finite, not -0.1"),
    (lambda: aggregated(deviation=math.inf), "deviation must be at least 0 and finite, not inf"),
    (lambda: amdm({}, C, generator(), aggregated=0), "at least one member"),
    (lambda: composed({}), "at least one member"),
    (lambda: composed(THREE, "xor"), "mode must be 'and' or 'or', not 'xor'"),
    (lambda: composed(THREE, temperature=0.0), "temperature must be positive and finite"),
    (lambda: composed(THREE, temperature=math.nan), "temperature must be positive and finite"),
    (lambda: composed({"a": A}, "and"), "mode 'and' needs two members or more, not 1"),
    (lambda: composed(SUM), "member 'sum' is a composition"),  # no density to follow ...
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_compositions_of_states_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
    amdm(SUM, C, generator(), aggregated=5)  # ... and none is followed here
