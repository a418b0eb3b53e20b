"""The scenarios: the shares and sets of the specification, uniform conditions."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch

from dualdiff.experiments.scenarios import (
    BOOK,
    SCENARIOS,
    Scenario,
    cabinet,
    make_scenario,
    round_table,
)
from dualdiff.regions import Box, Disc


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name, share", [("cabinet", 1 / 8), ("round_table", 1 / 9)])
def test_a_perfect_general_model_scores_the_share_of_the_specification(
    name: str, share: float
) -> None:
    scenario = make_scenario(name)
    n = 40_000
    y, c = scenario.pairs("general", n, make_generator(7))
    assert y.shape == c.shape == (n, 3) and y.dtype == c.dtype == torch.float32
    assert scenario.general.contains(y, c).all()
    inside = scenario.specialised.contains(y, c).double().mean().item()
    assert abs(inside - share) < 4 * math.sqrt(share * (1 - share) / n)  # binomial standard error
    y, c = scenario.pairs("specialised", 500, make_generator(8))
    assert scenario.specialised.contains(y, c).all() and scenario.general.contains(y, c).all()


def test_conditions_are_uniform_in_their_box() -> None:
    n = 20_000
    c = cabinet().conditions(n, make_generator(9))
    low, high = torch.tensor([-4.0, -4.0, 0.0]), torch.tensor([6.0, 6.0, 3.0])
    assert ((c >= low) & (c <= high)).all()
    error = (high - low) / math.sqrt(12 * n)
    assert ((c.mean(0) - (low + high) / 2).abs() < 4 * error).all()
    # the chance of an empty 1 % margin at either end is 0.99^20000
    assert ((c.amin(0) < low + (high - low) / 100) & (c.amax(0) > high - (high - low) / 100)).all()


def test_the_specification_of_the_two_scenarios() -> None:
    assert tuple(SCENARIOS) == BOOK == ("cabinet", "round_table")
    assert cabinet().specialised.n_cells == 125 and round_table().specialised.n_cells == 40
    table = make_scenario("round_table", height_tolerance=math.inf)
    assert table == round_table(math.inf) and table.general == Disc(3.0, height_tolerance=math.inf)


def test_another_specialised_region_makes_an_overlap_study() -> None:
    shifted = Scenario("shifted", Disc(3.0), Disc(1.0, centre=[2.5, 0.0]))  # type: ignore[arg-type]
    assert hash(shifted) == hash(Scenario("shifted", Disc(3.0), Disc(1.0, centre=(2.5, 0.0))))
    y, c = shifted.pairs("specialised", 4000, make_generator(10))
    assert torch.allclose((y - c).mean(0), torch.tensor([2.5, 0.0, 10.0]), atol=4 * 0.5 / 4000**0.5)
    assert not shifted.general.contains(y, c).all()


REFUSED = [
    (lambda: Scenario("s", Disc(1.0), Box((0.0,), (1.0,))), "specialised must have the 3 dim"),
    (lambda: Scenario("s", Disc(1.0), Disc(1.0), condition_low=(7, 0, 0)), "condition_low must be"),
    (lambda: cabinet().pairs("house", 3, make_generator()), "which must be 'general' or .*'house'"),
    (lambda: make_scenario("garden"), "one of cabinet, round_table, got 'garden'"),
    (lambda: make_scenario("cabinet", height_tolerance=1.0), "no option 'height_tolerance'.*none"),
    (lambda: make_scenario("round_table", size=1.0), "no option 'size'.*takes height_tolerance"),
    (
        lambda: cabinet().conditions(0, make_generator()),
        "n must be an integer of at least 1, got 0",
    ),
]


@pytest.mark.parametrize("make, message", REFUSED, ids=[m for _, m in REFUSED])
def test_bad_values_are_refused_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_scenarios_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        cabinet().name = "other"  # type: ignore[misc]
