"""Scenes whose product is known: the knowledge is right, and the judge is fair."""

import math

import numpy as np
import pytest
import torch
from conftest import default_dtype

from dualdiff.experiments.scenes import SCENES, Boxes, Plane, ring_and_bar
from dualdiff.randomness import stream

RING = ring_and_bar()


def product_mixture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The product of ring and bar in closed form: weights, means, covariances."""
    general, bar = RING.general, RING.specialised
    basis, variances = bar.basis[0].numpy(), bar.variances[0].numpy()
    b = basis @ np.diag(variances) @ basis.T
    m = bar.means[0].numpy()
    weights, means, covariances = [], [], []
    for k in range(8):
        a = np.eye(2) * 0.15**2
        covariance = np.linalg.inv(np.linalg.inv(a) + np.linalg.inv(b))
        mean = covariance @ (np.linalg.solve(a, general.means[k].numpy()) + np.linalg.solve(b, m))
        gap = general.means[k].numpy() - m
        density = np.exp(-0.5 * gap @ np.linalg.solve(a + b, gap)) / math.sqrt(np.linalg.det(a + b))
        weights.append(density)
        means.append(mean)
        covariances.append(covariance)
    return np.array(weights) / np.sum(weights), np.array(means), np.array(covariances)


def test_the_product_on_the_grid_is_the_closed_form() -> None:
    weights, means, covariances = product_mixture()
    x = RING.grid.numpy()
    density = sum(
        w
        * np.exp(-0.5 * np.einsum("ijd,de,ije->ij", x - m, np.linalg.inv(s), x - m))
        / (2 * math.pi * math.sqrt(np.linalg.det(s)))
        for w, m, s in zip(weights, means, covariances, strict=True)
    )
    assert np.allclose(RING.target.numpy(), density, atol=2e-3 * density.max())
    assert float(RING.masses(RING.target).sum()) == pytest.approx(1)
    # The bar favours one of the two modes it meets, which a symmetric benchmark would not show.
    first, second = np.sort(weights)[::-1][:2]
    assert 1.05 < first / second < 5 and first + second > 0.85


def test_true_draws_score_the_floor_and_the_share_they_should() -> None:
    y = RING.truth(20_000, stream(0, "truth")).view(100, 200, 2)
    scores = RING.judge(y, torch.zeros(100, 2), 0)
    floor = scores["total_variation_floor"].value
    assert scores["total_variation"].value == pytest.approx(floor, rel=0.15)
    assert scores["accuracy"].value == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 20_000))
    assert abs(scores["energy_distance"].value) < 5e-3


@pytest.mark.parametrize("name", SCENES)
def test_draws_do_not_depend_on_the_default_type(name: str) -> None:
    scene = SCENES[name]()
    expected = scene.truth(200, stream(0, "truth")), scene.conditions(5, 0)
    with default_dtype(torch.float64):
        found = scene.truth(200, stream(0, "truth")), scene.conditions(5, 0)
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == two.dtype and torch.equal(one, two)


@pytest.mark.parametrize("name", ["cabinet", "boxes"])
def test_boxes_know_their_intersection(name: str) -> None:
    scene = SCENES[name]()
    assert isinstance(scene, Boxes)
    y = scene.truth(2_000, stream(0, "truth"))
    origin = torch.zeros(1, 3)
    assert bool(scene.world.general.contains(y, origin).all())
    assert bool(scene.world.specialised.contains(y, origin).all())
    volume = np.prod(np.subtract(scene.target.high, scene.target.low))
    general = np.prod(np.subtract(scene.world.general.high, scene.world.general.low))
    assert volume / general == pytest.approx(0.125 if name == "cabinet" else 0.5)
    c = scene.conditions(10, 0)
    scores = scene.judge(c[:, None] + y.view(10, 200, 3), c, 0)
    assert scores["accuracy"].value == 1
    finer = scene.with_process(scene.general.process)
    assert finer.target == scene.target


def test_total_variation_of_a_shifted_cloud_is_one_and_misses_count() -> None:
    far = torch.full((500, 2), 1.9)
    assert RING.variation(far, RING.target) > 0.99
    assert RING.variation(torch.full((500, 2), 50.0), RING.target) == pytest.approx(1)
    assert Plane.CELLS * Plane.FINE == len(RING.grid)
