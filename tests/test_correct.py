"""Correctors: weights, resampling and Markov moves turn samples of the sum into the product's."""

import math
from itertools import pairwise

import pytest
import torch
from conftest import KINDS_OF_ROWS, Quick, containers, generator, line, mixture
from scipy import stats

from dualdiff.chunks import BLOCK
from dualdiff.compose import Weighted, joint
from dualdiff.correct import Corrected, feynman_kac_step, product, rne_step
from dualdiff.mcmc import HMC, MALA, ULA, Kernel, Move
from dualdiff.process import Process, transition
from dualdiff.resampling import Resampling
from dualdiff.samplers import DDIM, DDPM, sample

CONDITION = torch.tensor([[0.5, -1.0, 2.0]])


def gaussian(process: Process, mean: list[float], variance: float) -> Quick:
    return Quick(process, [1.0], [mean], variance * torch.eye(3).double()[None])


def test_samples_are_those_of_the_plain_sum() -> None:
    process = Process.linear()
    rule = joint(gaussian(process, [1, 0, 0], 0.5), gaussian(process, [0, 1, 0], 2.0))
    c = torch.randn(7, 3, generator=generator(1))
    run = product(rule, c, generator(2), draws=5, start_std=1.0)
    plain = sample(rule, c, generator(2), draws=5)
    torch.testing.assert_close(run.samples, plain)
    assert run.log_weights.shape == run.disagreement.shape == (7, 5)


@pytest.mark.parametrize("start_std", [None, 1.0])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.5)])
def test_weights_restore_the_variance_of_the_product_that_the_sum_misses(
    weights: tuple[float, float], start_std: float | None
) -> None:
    """Members that stay N(0, 1) under noise: the product is N(0, 1 / B) at every step, exactly.

    The sum's own chain is pulled in further, to a variance near 1 / (2 B - 1). A total noise of 1
    keeps the weights' tails light. The tolerance is four standard errors, plus what changes from 50
    to 100 steps (the error is of first order in the step, so as much again is left).
    """
    truth = 1 / sum(weights)
    estimates, error, plain = [], 0.0, 0.0
    for steps in (50, 100):
        process = Process.linear(steps, 0.1 / steps, 1.9 / steps, dy=1, dc=1)
        member = line(process, (1.0, 0.0, 1.0))
        rule = Weighted({"a": member, "b": member}, dict(zip("ab", weights, strict=True)))
        run = product(
            rule, torch.zeros(1, 1), generator(3), draws=40_000, chunk=40_000, start_std=start_std
        )
        squares = run.samples.double().view(-1) ** 2
        w = torch.softmax(run.log_weights.double().view(-1), 0)
        estimates.append(float((w * squares).sum()))
        error, plain = float((w * (squares - estimates[-1])).norm()), float(squares.mean())
    drift = abs(estimates[1] - estimates[0])
    assert abs(estimates[1] - truth) < 4 * error + drift
    assert drift < 0.05 * truth and abs(plain - truth) > 10 * error


def test_identical_members_that_share_one_weight_need_no_correction() -> None:
    member = gaussian(Process.linear(), [1, 0, 0], 0.5)
    rule = Weighted({"a": member, "b": member}, {"a": 0.25, "b": 0.75})
    run = product(rule, CONDITION, generator(4), draws=100)
    torch.testing.assert_close(run.log_weights, torch.zeros(1, 100), atol=1e-4, rtol=0)
    assert run.disagreement.abs().max() < 1e-10


def test_members_that_disagree_more_are_farther_apart() -> None:
    process = Process.linear()
    values = []
    for distance in (0.0, 1.0, 4.0):
        rule = joint(gaussian(process, [0, 0, 0], 0.5), gaussian(process, [distance, 0, 0], 0.5))
        run = product(rule, CONDITION, generator(6), draws=200)
        values.append((float(run.disagreement.mean()), -float(run.log_weights.mean())))
    for (low, light), (high, heavy) in pairwise(values):
        assert low < high and light < heavy


def test_fewer_steps_use_the_betas_between_the_steps_visited() -> None:
    """Members equal to each other: the weight is sum beta/sigma^2 |eps|^2 at any spacing."""
    process = Process.linear()
    member = gaussian(process, [0, 0, 0], 1.0)  # noised it stays N(0, I), so eps = sigma y
    rule = joint(member, member)
    totals = []
    for steps in (50, 100):
        run = product(rule, CONDITION, generator(7), draws=4000, sampler=DDPM(steps))
        totals.append(float(run.log_weights.mean()))
    assert totals[0] == pytest.approx(totals[1], rel=0.1)


def test_a_denoiser_that_is_no_sum_is_refused() -> None:
    member = gaussian(Process.linear(), [0, 0, 0], 1.0)
    with pytest.raises(TypeError, match="rule must be a Weighted sum of members, not Quick"):
        product(member, CONDITION, generator(8))  # type: ignore[arg-type]


# --- the law: the product in closed form --------------------------------------------------------

MEANS = torch.tensor([[0.8, -0.5], [-0.6, 0.4]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.5, 0.2], [0.2, 0.3]], [[1.0, -0.3], [-0.3, 0.6]]], dtype=torch.float64
)


def gaussians(process: Process, exponents: tuple[float, float]) -> tuple[Weighted, torch.Tensor]:
    """Two correlated Gaussians in the plane, and the first and second moments of their product."""
    pairs = zip("ab", MEANS, COVARIANCES, strict=True)
    members = {name: Quick(process, [1], mean[None], cov[None]) for name, mean, cov in pairs}
    precisions = torch.tensor(exponents).double().view(-1, 1, 1) * COVARIANCES.inverse()
    covariance = precisions.sum(0).inverse()
    mean = covariance @ (precisions @ MEANS.unsqueeze(2)).sum(0).squeeze(1)
    truth = torch.cat([mean, covariance[[0, 0, 1], [0, 1, 1]]])
    return Weighted(members, dict(zip("ab", exponents, strict=True))), truth


def deviation(rule: Weighted, run: Corrected, truth: torch.Tensor) -> float:
    """How far means and covariances of a run on REPEATS are from the truth, in standard errors.

    The errors come from the repeats; beyond them the chain is allowed 2 / T for its finite steps.
    Second moments are about the true mean, so that they have no bias of their own.
    """
    y = (run.samples - REPEATS.unsqueeze(1)).double() - truth[:2]
    second = torch.stack([y[..., 0] ** 2, y[..., 0] * y[..., 1], y[..., 1] ** 2], 2)
    moments = torch.cat([y, second - truth[2:]], 2).mean(1)
    error = moments.std(0) / math.sqrt(len(moments))
    return float(((moments.mean(0).abs() - 2 / rule.process.steps) / error).max())


REPEATS = torch.linspace(-3, 3, 32).view(16, 2)  # the law is one of y - c, wherever the object is


WAYS = [
    *((1, {"weights": w}, e) for w in ("feynman_kac", "rne") for e in ((1.0, 1.0), (0.25, 1.25))),
    # The start of the thesis, N(0, I), weighted: the same answer as from the product's own.
    *((4, {"start_std": start}, (1.0, 1.0)) for start in (0.8, 1.0)),
    (6, {"mcmc": MALA(1, 0.4, "variance")}, (1.0, 1.0)),
]


@pytest.mark.parametrize(("seed", "how", "exponents"), WAYS)
def test_resampling_reaches_the_product_of_gaussians(seed, how, exponents) -> None:  # type: ignore[no-untyped-def]
    rule, truth = gaussians(Process.log_snr(120, 10, -8, dy=2, dc=2), exponents)
    how = {"draws": 500, "chunk": 8000, "resampling": Resampling(500), **how}
    run = product(rule, REPEATS, generator(seed), **how)
    assert deviation(rule, run, truth) < 4
    assert not run.log_weights.any()  # the last resampling has spent them
    assert (run.effective[:, :, -1] > 0.2).all() and (run.unique > 0.2).all()


@pytest.mark.parametrize("start", [None, 1.0])
@pytest.mark.parametrize("exponents", [(1.0, 1.0), (0.25, 1.25)])
def test_the_plain_sum_does_not_reach_the_product_of_gaussians(exponents, start) -> None:  # type: ignore[no-untyped-def]
    rule, truth = gaussians(Process.log_snr(120, 10, -8, dy=2, dc=2), exponents)
    how = {"draws": 500, "chunk": 16_000, "weights": None, "start_std": start}
    run = product(rule, REPEATS, generator(1), **how)
    assert deviation(rule, run, truth) > 20
    assert not run.log_weights.any()


@pytest.mark.parametrize(
    "kernel",
    [
        MALA(8, 0.4, "variance"),
        HMC(4, 0.15, "variance", leapfrog=4),
        ULA(25, 0.08, "variance"),
    ],
)
def test_markov_moves_reach_the_product_of_gaussians(kernel: Kernel) -> None:
    """Weights would not be needed if the moves mixed at every step; these nearly do."""
    rule, truth = gaussians(Process.log_snr(60, 10, -8, dy=2, dc=2), (1.0, 1.0))
    how = {"weights": None, "mcmc": kernel}
    run = product(rule, REPEATS, generator(2), draws=200, chunk=16_000, **how)
    assert deviation(rule, run, truth) < 4
    assert 0.7 < float(run.accepted.mean()) < 1.001


def two_modes(
    process: Process, *components: tuple[float, float, float], by: tuple[float, float]
) -> tuple[Weighted, float, float]:
    """A mixture times a Gaussian on a line; the product's mass on the right; where right begins."""
    mean, variance = by
    masses, parts = [], []
    for weight, m, v in components:
        both = stats.norm(mean, math.sqrt(v + variance))
        masses.append(weight * both.pdf(m))
        centre = (m / v + mean / variance) / (1 / v + 1 / variance)
        parts.append(stats.norm(centre, (1 / v + 1 / variance) ** -0.5))
    border = sum(part.mean() for part in parts) / 2
    right = sum(mass * part.sf(border) for mass, part in zip(masses, parts, strict=True))
    members = line(process, *components), line(process, (1.0, mean, variance))
    return joint(*members), right / sum(masses), border


def test_resampling_weighs_two_modes_as_the_product_does() -> None:
    """Ten seeds of 20,000 particles; the plain sum gives the wrong mode too much."""
    process = Process.log_snr(60, 9, -7, dy=1, dc=1)
    rule, right, border = two_modes(process, (0.6, -1.5, 0.1), (0.4, 1.0, 0.3), by=(0.2, 0.8))

    def share(seed: int, **how) -> float:  # type: ignore[no-untyped-def]
        run = product(rule, torch.zeros(1, 1), generator(seed), draws=20_000, chunk=20_000, **how)
        return float((run.samples > border).double().mean())

    corrected = [share(seed, resampling=Resampling(1000)) for seed in range(10)]
    assert abs(sum(corrected) / 10 - right) < 0.02
    for start in (None, 1.0):
        assert abs(share(0, weights=None, start_std=start) - right) > 0.08


@pytest.mark.parametrize("kernel", [MALA(15, 0.5, "variance"), HMC(5, 0.3, "variance")])
def test_markov_moves_weigh_two_modes_as_the_product_does(kernel: Kernel) -> None:
    """Modes close enough to move between them until late; the plain sum is off as before."""
    process = Process.log_snr(60, 10, -8, dy=1, dc=1)
    rule, right, border = two_modes(process, (0.7, -0.8, 0.3), (0.3, 0.8, 0.25), by=(0.7, 0.5))
    shares = []
    for how in ({"mcmc": kernel}, {}):
        how = {"draws": 250, "chunk": 4000, "weights": None, **how}
        run = product(rule, torch.zeros(16, 1), generator(3), **how)
        shares.append((run.samples > border).double().mean((1, 2)))
    corrected, plain = ((s.mean() - right) / (s.std() / 4) for s in shares)
    assert abs(corrected) < 4 and abs(plain) > 10


class Shift(Kernel):
    """A known move, and the score where it ends."""

    def once(self, score, at, h, random) -> Move:  # type: ignore[no-untyped-def]
        y = at.y + 0.7
        return Move(y, score(y), torch.zeros(len(y)))


@pytest.mark.parametrize("mcmc", [Shift(), None])
@pytest.mark.parametrize("weights", ["feynman_kac", None])
def test_a_step_starts_where_the_moves_end(weights, mcmc) -> None:  # type: ignore[no-untyped-def]
    """Its mean and its weight, here <eps_a, eps_b>, are those of the state after the moves."""
    process = Process.linear(1, 0.3, 0.3)
    a, b = gaussian(process, [1, 0, 0], 0.5), gaussian(process, [0, 1, 0], 2.0)
    c = torch.randn(10, 3, generator=generator(16))
    run = product(joint(a, b), c, generator(17), weights=weights, mcmc=mcmc)
    # The start as the sampler draws it: one stream for the first block of samples.
    seeds = torch.randint(2**62, (1,), generator=generator(17)).tolist()
    y = torch.empty(10, 3).normal_(generator=generator(seeds[0])) / math.sqrt(2)
    y = y + 0.7 if mcmc else y
    eps = a(y, 0, c), b(y, 0, c)
    expected = (y - 0.3 / math.sqrt(0.3) * sum(eps)) / math.sqrt(0.7)
    torch.testing.assert_close(run.samples[:, 0], expected, rtol=1e-4, atol=1e-4)
    gain = (eps[0] * eps[1]).sum(1) if weights else torch.zeros(10)
    torch.testing.assert_close(run.log_weights[:, 0], gain, rtol=1e-4, atol=1e-4)
    assert run.accepted.eq(0 if mcmc else 1).all()
    assert run.calls == 2 + bool(mcmc) * (2 + 2 * bool(weights))


# --- resampling ---------------------------------------------------------------------------------


def test_resampling_at_the_end_alone_keeps_the_weighted_mean() -> None:
    """Systematic resampling of one group moves a mean by less than its own sampling error."""
    member = line(Process.linear(50, 0.1 / 50, 1.9 / 50, dy=1, dc=1), (1.0, 0.0, 1.0))
    c, means = torch.zeros(1, 1), []
    for how in ({}, {"resampling": Resampling(4000, threshold=0.0)}):
        run = product(joint(member, member), c, generator(9), draws=4000, chunk=4000, **how)
        squares, w = run.samples.double().view(-1) ** 2, run.log_weights.double().softmax(1)[0]
        means += [float(w @ squares), float(squares.mean())]
        if not how:
            error = float((w * (squares - means[0])).norm())
    weighted, plain, resampled, _ = means
    assert abs(resampled - weighted) < 3 * error and abs(plain - weighted) > 6 * error


# --- increments ---------------------------------------------------------------------------------


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def test_feynman_kac_increment_against_its_formula() -> None:
    eps, weights = draws(3, 50, 4, seed=10), torch.tensor([0.7, -0.4, 1.6])
    beta, noise = 0.07, 0.6
    found = feynman_kac_step(eps, weights, beta, noise)
    for n, gain in enumerate(found.tolist()):
        a, b, c = eps[:, n].double()
        summed = 0.7 * a - 0.4 * b + 1.6 * c
        own = 0.7 * a @ a - 0.4 * b @ b + 1.6 * c @ c
        expected = beta * (summed @ summed - own) / (2 * noise**2)
        assert gain == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_rne_increment_against_densities_of_the_kernels() -> None:
    """The same, with torch's normal distributions: their constants cancel."""
    process, t, following = Process.linear(50), 30, 27
    step, weights = transition(process, t, following), torch.tensor([0.7, -0.4, 1.6])
    eps, y, y_next = draws(3, 50, 4, seed=11), draws(50, 4, seed=12), draws(50, 4, seed=13)
    abar, abar_next = process.alpha_bar[t], process.alpha_bar[following]
    beta = 1 - abar / abar_next

    def log_normal(x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(mean, beta.sqrt()).log_prob(x.double()).sum(-1)

    def ancestral(e: torch.Tensor) -> torch.Tensor:
        return (y.double() - beta / (1 - abar).sqrt() * e.double()) / (1 - beta).sqrt()

    a, b, c = (log_normal(y_next, ancestral(e)) for e in eps)
    forward = log_normal(y, (1 - beta).sqrt() * y_next.double())
    sampled = log_normal(y_next, ancestral(0.7 * eps[0] - 0.4 * eps[1] + 1.6 * eps[2]))
    expected = 0.7 * a - 0.4 * b + 1.6 * c - (0.7 - 0.4 + 1.6 - 1) * forward - sampled
    found = rne_step(eps, weights, y, y_next, step)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)


def test_increments_agree_in_the_limit_of_small_steps() -> None:
    """Per path, up to terms that vanish: their difference halves (at least) as steps double."""
    gaps = []
    for steps in (50, 100, 200):
        rule, _ = gaussians(Process.log_snr(steps, 6, -6, dy=2, dc=2), (1.0, 1.0))
        runs = [
            product(rule, REPEATS[:1], generator(14), draws=1000, weights=w)
            for w in ("feynman_kac", "rne")
        ]
        torch.testing.assert_close(runs[0].samples, runs[1].samples)
        gain = [run.log_weights.double().softmax(1)[0] @ run.samples[0].double() for run in runs]
        gaps.append(float((gain[0] - gain[1]).norm()))
    assert gaps[2] < 0.6 * gaps[0]


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "smc"}, "weights must be 'feynman_kac', 'rne' or None, not 'smc'"),
        ({"weights": None, "resampling": Resampling(2)}, "resampling needs weights"),
        ({"resampling": Resampling(4), "draws": 6}, "multiple of the group size 4, not 6"),
        ({"sampler": DDPM(variance="posterior")}, "sampler must be DDPM with variance 'beta'"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"start_std": -1.0}, "start_std must be"),
        ({"sampler": DDIM()}, "sampler must be DDPM with variance 'beta'"),
    ],
)
def test_what_cannot_be_corrected_is_refused(change: dict, message: str) -> None:  # type: ignore[type-arg]
    rule, _ = gaussians(Process.log_snr(10, dy=2, dc=2), (1.0, 1.0))
    with pytest.raises(ValueError, match=message):
        product(rule, REPEATS, generator(), **change)


def test_weights_that_change_with_the_step_cannot_weigh_samples() -> None:
    process = Process.log_snr(10)
    rule = Weighted({"a": mixture(process)}, {"a": torch.linspace(1, 2, 10)})
    with pytest.raises(ValueError, match="weights change with the step"):
        product(rule, CONDITION, generator())
    assert product(rule, CONDITION, generator(), weights=None).samples.shape == (1, 1, 3)


@pytest.mark.parametrize("group", [50, 1100, None])
def test_groups_are_not_cut_by_chunks(group: int | None) -> None:
    """Neither smaller than a block of noise nor larger: the chunk changes no sample or weight."""
    rule, _ = gaussians(Process.log_snr(20, dy=2, dc=2), (1.0, 1.0))
    how = {"draws": 1100, "resampling": Resampling(group) if group else None}
    first, *others = (
        product(rule, REPEATS[:3], generator(15), chunk=chunk, **how) for chunk in (1, BLOCK, 10**5)
    )
    for other in others:
        for a, b in zip(first[:-1], other[:-1], strict=True):
            torch.testing.assert_close(a, b)
    assert first.effective.shape == ((3, 1100 // group, 20) if group else (3, 1100, 1))


@pytest.mark.parametrize(
    "options",
    [{}, {"weights": "rne"}, {"weights": None, "mcmc": MALA(1)}, {"resampling": Resampling(20)}],
)
def test_a_nested_sum_samples_as_the_flat_one(options: dict) -> None:  # type: ignore[type-arg]
    """A composition is no noised density, so only the flat product can be corrected."""
    process = Process.log_snr(40, 8, -8, dy=1, dc=1)
    a, b, shift = (line(process, (1.0, m, v)) for m, v in ((0.0, 1.0), (0.5, 2.0), (2.0, 0.25)))
    flat = Weighted({"a": a, "b": b, "c": shift}, {"a": 0.5, "b": 1.0, "c": 1.0})
    pair = Weighted({"a": a, "b": b}, {"a": 1.0, "b": 2.0})
    nested = Weighted({"pair": pair, "c": shift}, {"pair": 0.5, "c": 1.0})
    c = torch.zeros(6, 1)
    runs = [product(rule, c, generator(3), draws=20, **options) for rule in (flat, nested)]
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_conditions_of_any_type_give_the_same_product(kind: str) -> None:
    process = Process.linear(8, dy=3, dc=3)
    rule = joint(gaussian(process, [1, 0, 0], 0.5), gaussian(process, [0, 1, 0], 2.0))
    c = torch.randint(4, (3, 3), generator=generator(4)).float()
    expected = product(rule, c, generator(2), draws=4, resampling=Resampling(4))
    given = containers(c)[kind]
    found = product(rule, given, generator(2), draws=4, resampling=Resampling(4))  # type: ignore[arg-type]
    assert torch.equal(found.samples, expected.samples)


def test_a_sum_that_does_something_else_is_one_density_and_no_product_itself() -> None:
    """Of a member with a forward of its own the members are not those that are sampled."""

    class Moved(Weighted):
        def forward(self, y, t, c):  # type: ignore[no-untyped-def]
            return super().forward(y, t, c) + 1

    process = Process.linear(20, dy=1, dc=1)
    one, two = line(process, (1.0, 0.0, 1.0)), line(process, (1.0, 1.0, 0.5))
    rule = Moved({"a": one, "b": two}, {"a": 0.5, "b": 0.5})
    with pytest.raises(ValueError, match="Moved.*make it a member"):
        product(rule, torch.zeros(3, 1), generator())
    nested = Weighted({"rule": rule, "one": one}, {"rule": 0.5, "one": 0.5})
    hooked = joint(one, two)
    hooked.register_forward_hook(lambda module, given, eps: eps + 1)
    with pytest.raises(ValueError, match="hook.*make it a member"):
        product(hooked, torch.zeros(3, 1), generator())
    for whole in (nested, Weighted({"hooked": hooked}, {"hooked": 1.0})):
        c, start = torch.zeros(300, 1), whole.start_std
        corrected = product(whole, c, generator(5), weights=None).samples
        plain = sample(whole, c, generator(5), start_std=start)
        torch.testing.assert_close(corrected, plain, rtol=1e-4, atol=1e-4)


# --- some draws of a group ------------------------------------------------------------------------


def test_what_is_kept_of_a_group_follows_the_product() -> None:
    """One draw of every condition's own group: independent, so a plain test of the law applies."""
    process = Process.linear(100, dy=1, dc=1)
    rule = joint(line(process, (1.0, 0.0, 1.0)), line(process, (1.0, 1.0, 1.0)))
    c, groups = torch.zeros(4000, 1), Resampling(16)
    kept = product(rule, c, generator(1), draws=16, resampling=groups, keep=1)
    assert kept.samples.shape == (4000, 1, 1) and kept.accepted.shape == (4000, 1)
    assert kept.effective.shape == (4000, 1, 100) and kept.unique.shape == (4000, 1)
    whole = product(rule, c, generator(1), draws=16, resampling=groups)
    # The same particles: what all of the groups say, the kept ones say within their own error.
    y, every = kept.samples.flatten().double(), whole.samples.flatten().double()
    assert abs(float(y.mean() - every.mean())) < 4 * float(y.std()) / 4000**0.5
    assert abs(float(y.var() / every.var()) - 1) < 4 * (2 / 4000) ** 0.5
    member = (whole.samples == kept.samples).any(1).all()
    assert bool(member)


def test_the_places_kept_are_all_alike() -> None:
    """No place of a group is preferred; all of a group kept is the group in another order."""
    process = Process.linear(20, dy=1, dc=1)
    rule = joint(line(process, (1.0, 0.0, 1.0)), line(process, (1.0, 1.0, 1.0)))
    c = torch.zeros(3000, 1)
    whole = product(rule, c, generator(1), draws=8, resampling=Resampling(4))
    groups = whole.samples.view(3000, 2, 4)
    kept = product(rule, c, generator(1), draws=8, resampling=Resampling(4), keep=4)
    assert torch.equal(kept.samples.view(3000, 2, 4).sort(2).values, groups.sort(2).values)
    some = product(rule, c, generator(1), draws=8, resampling=Resampling(4), keep=2)
    assert some.samples.shape == (3000, 4, 1)
    found = some.samples.view(3000, 2, 2, 1) == groups[:, :, None]
    # A copy has no place of its own: groups without any are counted.
    alone = (groups.sort(2).values.diff(dim=2) > 0).all(2)
    places = found.float().argmax(3)[alone].flatten()
    counts = torch.bincount(places, minlength=4).double()
    assert len(places) > 500
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


@pytest.mark.parametrize("options", [{"keep": 1}, {"keep": 0}, {"keep": 5}])
def test_what_cannot_be_kept_is_refused(options: dict[str, int]) -> None:
    process = Process.linear(5)
    rule = joint(mixture(process), mixture(process))
    groups = {} if options["keep"] == 1 else {"resampling": Resampling(4)}
    with pytest.raises(ValueError, match="keep must be at least 1"):
        product(rule, CONDITION, generator(), draws=4, **options, **groups)  # type: ignore[arg-type]
