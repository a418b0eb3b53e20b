"""Baselines without diffusion: what they estimate has known answers."""

import math
from pathlib import Path

import pytest
import torch

from dualdiff.data import baselines
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.scenarios import cabinet, round_table
from dualdiff.experiments.sizes import sized
from dualdiff.experiments.store import Store
from dualdiff.metrics import accuracy
from dualdiff.process import Process
from dualdiff.regions import Box, Disc

BOX, DISC = Box((-1.0, -1.0, 0.0), (0.0, 0.0, 0.5)), Disc(2.0, (1.0, -1.0), 3.0)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(region: Box | Disc, n: int, seed: int) -> torch.Tensor:
    return region.draw(torch.zeros(n, 3), generator(seed))


def test_the_bandwidth_has_the_largest_likelihood_of_left_out_rows() -> None:
    x = torch.randn(40, 2, generator=generator(0), dtype=torch.float64) * torch.tensor([1.0, 5.0])
    found = baselines.bandwidth(x)
    assert found[1] / found[0] == pytest.approx(float(x[:, 1].std() / x[:, 0].std()))

    def likelihood(factor: float) -> float:
        total = 0.0
        for i in range(len(x)):
            others = torch.cat([x[:i], x[i + 1 :]])
            kernel = torch.distributions.Normal(others, factor * found)
            total += float((kernel.log_prob(x[i]).sum(1).logsumexp(0)) - math.log(len(others)))
        return total

    step = baselines.WIDTHS[1] / baselines.WIDTHS[0]
    assert likelihood(1.0) > max(likelihood(step), likelihood(1 / step))


def test_a_coordinate_that_does_not_vary_gets_no_width() -> None:
    x = rows(DISC, 50, 1)
    assert baselines.bandwidth(x)[2] == 0 < baselines.bandwidth(x)[:2].min()
    for fit in baselines.FITS.values():
        y = fit(x, DISC, generator(2))(500, generator(3))
        torch.testing.assert_close(y[:, 2], torch.full((500,), 3.0))


def test_the_kernel_estimate_and_its_denoiser_are_one_distribution() -> None:
    """A sum of Gaussians on the rows, at the last step of the noise and in samples."""
    x = rows(BOX, 30, 4)
    width = baselines.bandwidth(x)
    process = Process.log_snr(100, dy=3, dc=3)
    denoiser = baselines.kernel_denoiser(process, x)
    c, t = torch.randn(20, 3, generator=generator(5)), 40
    y = torch.randn(20, 3, generator=generator(6))
    abar = process.alpha_bar_at(t)
    mean = math.sqrt(abar) * (x.double() + c.double()[:, None])
    std = (abar * width**2 + 1 - abar).sqrt()
    each = torch.distributions.Normal(mean, std).log_prob(y.double()[:, None]).sum(2)
    expected = each.logsumexp(1) - math.log(len(x))
    torch.testing.assert_close(denoiser.log_density(y, t, c), expected)
    drawn = baselines.kernel(x, BOX, generator(7))(200_000, generator(8)).double()
    covariance = torch.cov(x.double().T, correction=0) + torch.diag(width**2)
    error = 5 * covariance.diagonal().max() * math.sqrt(2 / len(drawn))
    torch.testing.assert_close(torch.cov(drawn.T), covariance, rtol=0, atol=float(error))


def test_resampling_gives_every_row_equally_often() -> None:
    x, n = rows(BOX, 20, 9), 40_000
    y = baselines.resampled(x, BOX, generator(0))(n, generator(10))
    counts = (y[:, None] == x).all(2).sum(0)
    assert int(counts.sum()) == n
    assert float((counts - n / 20).abs().max()) < 5 * math.sqrt(n * 0.05 * 0.95)


def test_the_bic_finds_the_components_of_a_mixture() -> None:
    n, means = 3_000, torch.tensor([[-6.0, 0.0, 2.0], [6.0, 4.0, -2.0]])
    which = torch.randint(2, (n,), generator=generator(11))
    x = means[which] + torch.randn(n, 3, generator=generator(12))
    y = baselines.gaussians(x, BOX, generator(13))(n, generator(14))
    assert (y[:, 0] > 0).float().mean() == pytest.approx(
        float((x[:, 0] > 0).float().mean()), abs=5 * math.sqrt(0.25 / n)
    )
    for left in (True, False):
        ours, theirs = y[(y[:, 0] < 0) == left], x[(x[:, 0] < 0) == left]
        error = 5 * math.sqrt(2 / len(ours))  # each of the two has this error over sqrt(2)
        torch.testing.assert_close(ours.mean(0), theirs.mean(0), rtol=0, atol=error)
        torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0, atol=error)


def test_outlines_are_unbiased() -> None:
    """The mean size of boxes, and the mean squared radius of discs, over many sets of 10 rows."""
    sizes, squares = [], []
    for k in range(400):
        y = baselines.outline(rows(BOX, 10, 1000 + k), BOX, generator(0))(2_000, generator(k))
        # a range of m uniform numbers is (m - 1) / (m + 1) of the box
        sizes.append((y.amax(0) - y.amin(0)) * 2_001 / 1_999)
        y = baselines.outline(rows(DISC, 10, 5000 + k), DISC, generator(0))(2_000, generator(k))
        squares.append(2 * y[:, :2].var(0).sum())
    size, square = torch.stack(sizes), torch.stack(squares)
    error = size.std(0) / math.sqrt(len(size))
    assert bool(((size.mean(0) - torch.tensor([1.0, 1.0, 0.5])).abs() < 4.5 * error).all())
    assert abs(square.mean() - 4) < 4.5 * square.std() / math.sqrt(len(square))


def test_a_flow_learns_a_box_better_than_one_gaussian() -> None:
    x = rows(BOX, 512, 15)
    y = baselines.splines(x, BOX, generator(16))(5_000, generator(17))
    normal = x.mean(0) + x.std(0) * torch.randn(5_000, 3, generator=generator(18))
    inside = [float(BOX.contains(z, torch.zeros(5_000, 3)).float().mean()) for z in (y, normal)]
    assert inside[0] > inside[1] + 5 * math.sqrt(0.5 / 5_000)


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    size = sized("adaptation", "smoke", n_specialised=16)
    return Networks(cabinet(), RECIPES["tuned"], size, 3, Store(tmp_path))


def test_an_ensemble_has_other_weights_and_the_same_rows(networks: Networks) -> None:
    some = baselines.several(networks)
    assert len(some) == baselines.ENSEMBLE and some[0] is networks
    for which in ("general", "specialised"):
        y, c = networks.rows(which)
        assert all(torch.equal(one.rows(which)[0], y) for one in some)
        assert all(torch.equal(one.rows(which)[1], c) for one in some)
    made = [one.asked("specialised") for one in some]
    assert len({str(asked.config) for asked in made}) == len(some)
    first, *others = ([*asked.start().parameters()] for asked in made)
    assert not any(torch.equal(first[0], other[0]) for other in others)
    y, c = (torch.randn(4, 3, generator=generator(k)) for k in (20, 21))
    mean = baselines.composed("ensemble", networks)
    trained = [one.specialised().network for one in some]
    expected = torch.stack([net(y, 10, c) for net in trained]).mean(0)
    torch.testing.assert_close(mean(y, 10, c), expected)


@pytest.mark.parametrize("name", [*baselines.FITS, *baselines.COMPOSED])
def test_every_baseline_is_judged_as_networks_are(name: str, tmp_path: Path) -> None:
    size = sized("adaptation", "smoke", n_specialised=16)
    (trial,) = baselines.beside(round_table(), size, 0, [name])
    table = trial.table(Store(tmp_path))
    scores = table[table["target"] == "specialised"].set_index("metric")["value"]
    assert 0 <= scores["total_variation"] <= 1 and 0 <= scores["memorisation"] <= 1
    again = trial.table(Store(tmp_path / "again"))
    assert (again["value"].fillna(-1) == table["value"].fillna(-1)).all()
    if name == "resampled":
        assert scores["accuracy"] == 1


def test_refusals() -> None:
    size = sized("adaptation", "smoke")
    with pytest.raises(ValueError, match="kernel_joint.*not 'kde'"):
        baselines.beside(cabinet(), size, 0, ["kde"])
    one = torch.zeros(1, 3)
    for fit in (baselines.kernel, baselines.outline):
        with pytest.raises(ValueError, match="at least 2 rows, not 1"):
            fit(one, BOX, generator(0))


def test_samples_stand_where_the_object_stands(tmp_path: Path) -> None:
    size = sized("adaptation", "smoke", n_specialised=64)
    (trial,) = baselines.beside(cabinet(), size, 0, ["resampled"])
    c = 50 * torch.randn(10, 3, generator=generator(19))
    networks = trial.networks(Store(tmp_path), "cpu")
    y, notes = trial.sampled(networks, c)
    assert accuracy(y, c, cabinet().specialised).value == 1 and not notes


def test_too_few_rows_and_a_package_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="needs at least 4 rows, not 3"):
        baselines.gaussians(rows(BOX, 3, 0), BOX, generator(0))
    monkeypatch.setattr(baselines, "find_spec", lambda name: None if name == "zuko" else name)
    size = sized("adaptation", "smoke", n_specialised=16)
    (trial,) = baselines.beside(round_table(), size, 0, ["splines"])
    with pytest.raises(ValueError, match=r"zuko is not installed.*pip install 'dualdiff\[real\]'"):
        trial.table(Store(tmp_path))
