"""The three propositions of the book (book/propositions.md), in numbers."""

import pytest
import torch

import dualdiff as dd
from dualdiff.exact import ExactMixture

WEIGHTS = {"a": 0.75, "b": 1.5}


def test_at_high_noise_a_sum_is_the_standard_normal_counted_as_often_as_its_weights_say() -> None:
    """1 (a), with the bound of its proof, at every step: it closes as the noise grows."""
    process = dd.Process.linear(dy=2, dc=2)
    boxes = {"a": ((-1.0, -1.0), (1.0, 1.0)), "b": ((-1.0, 0.0), (0.0, 1.0))}
    members = {
        name: dd.exact_denoiser(dd.regions.Box(*box), process) for name, box in boxes.items()
    }
    rule, total = dd.Weighted(members, WEIGHTS), sum(WEIGHTS.values())
    y = torch.cartesian_prod(*[torch.linspace(-2, 2, 9)] * 2)
    bounds = []
    for t in range(process.steps // 2, process.steps):
        score = -rule(y, t, 0 * y) / process.noise(t)
        signal = process.signal(t)
        left = signal**2 * y.norm(dim=1) + signal * 2**0.5  # no point of a box is farther away
        bound = total * left / (1 - signal**2)
        assert ((score + total * y).norm(dim=1) <= bound + 1e-4).all(), t
        bounds.append(float(bound.max()))
    assert bounds == sorted(bounds, reverse=True) and bounds[-1] < 0.1 * bounds[0]


@pytest.mark.parametrize("variances", [(1.0, 0.25), (0.5, 0.5)])
def test_weights_that_add_up_to_one_describe_too_wide_a_density(
    variances: tuple[float, float],
) -> None:
    """1 (b), from predictions of exact members; equal variances are the case without an error."""
    process, weights = dd.Process.linear(dy=1, dc=1), (0.3, 0.7)
    means = -1.0, 2.0
    members = {
        name: ExactMixture(process, [1.0], [[m]], [[[v]]])
        for name, m, v in zip("ab", means, variances, strict=True)
    }
    rule = dd.Weighted(members, dict(zip("ab", weights, strict=True)))
    v = 1 / sum(w / u for w, u in zip(weights, variances, strict=True))
    m = v * sum(w * m / u for w, m, u in zip(weights, means, variances, strict=True))
    product = ExactMixture(process, [1.0], [[m]], [[[v]]])
    y, c = torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1)
    for t in range(5, 60, 5):
        summed, right = (one(y, t, c).double()[:, 0] / process.noise(t) for one in (rule, product))
        a = process.signal(t) ** 2
        each = [1 / (a * u + 1 - a) for u in (*variances, v)]  # precisions under noise
        gap = each[2] - sum(w * f for w, f in zip(weights, each[:2], strict=True))
        assert float(right.diff() - summed.diff()) == pytest.approx(gap, abs=1e-5), t
        if variances[0] == variances[1]:
            assert abs(gap) < 1e-9 and torch.allclose(summed, right, atol=1e-5), t
        else:
            assert gap > 1e-5, t


@pytest.mark.parametrize("total", [0.75, 1.0, 1.5, 2.0, 3.0])
def test_a_sum_of_standard_normals_settles_where_the_proposition_says(total: float) -> None:
    """2: the recursion, its fixed point and its limit, and samples of a rule."""
    beta, steps, n = 0.02, 400, 4_000
    process = dd.Process.linear(steps, beta, beta, dy=1, dc=1)
    v, factor = 1.0, (1 - total * beta) ** 2 / (1 - beta)
    for _ in range(steps - 1):
        v = factor * v + beta
    settled = (1 - beta) / (2 * total - 1 - total**2 * beta)
    assert v == pytest.approx(settled, rel=0.03 if total < 1 else 1e-3)
    assert settled == pytest.approx(1 / (2 * total - 1), rel=4 * total**2 * beta)
    start = (1 - 1 / (2 * total - 1)) * (1 - beta) ** (steps * (2 * total - 1))
    assert v == pytest.approx(1 / (2 * total - 1) + start, rel=4 * total**2 * beta)
    normal = ExactMixture(process, [1.0], [[0.0]], [[[1.0]]])
    rule = dd.Weighted({"a": normal, "b": normal}, {"a": total / 3, "b": 2 * total / 3})
    noise = dd.randomness.stream(0, "a sum of normals", total)
    y = dd.sample(rule, torch.zeros(1, 1), noise, draws=n).double()
    expected = factor * v  # the last step adds no noise
    assert float(y.square().mean()) == pytest.approx(expected, rel=5 * (2 / n) ** 0.5)


def test_no_distribution_is_near_both_a_home_and_the_general_one() -> None:
    """3, for distributions of samples: of either law, of both, of one point, of noise."""
    world = dd.make_scenario("cabinet")
    noise = dd.randomness.stream(0, "any distribution")
    c = world.conditions(4_000, noise)
    home, general = world.specialised.draw(c, noise), world.general.draw(c, noise)
    point = c + torch.tensor([-0.5, -0.5, 0.25])
    several = {
        "home": home,
        "general": general,
        "point": point,
        "noise": c + torch.randn(c.shape, generator=noise),
    }
    for share in (0.1, 0.5, 0.9):
        chosen = torch.rand(len(c), 1, generator=noise) < share
        several[f"mixture {share}"] = torch.where(chosen, home, general)
    least = dd.experiments.adaptation.least_sum(world)
    assert least == pytest.approx(1 - 0.6**3)
    for name, y in several.items():
        both = [
            dd.metrics.total_variation(y[:, None], c, region, noise).value
            for region in (world.specialised, world.general)
        ]
        assert sum(both) >= least - 1e-9, name
    assert both[0] > 0 < both[1] and sum(both) < least + 0.15  # of a mixture it is nearly tight
