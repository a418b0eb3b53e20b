"""What a rule aims at, and how far its samples are from it: laws with known answers."""

import math

import pytest
import torch

from dualdiff.compose import Weighted
from dualdiff.exact import ExactMixture
from dualdiff.experiments.rules import RULES
from dualdiff.experiments.scenes import SCENES, Plane
from dualdiff.randomness import stream
from dualdiff.readings import composition as reading

RING = SCENES["ring_and_bar"]()
assert isinstance(RING, Plane)


def gaussian(variance: float) -> ExactMixture:
    return ExactMixture(RING.process, [1.0], [[0.0, 0.0]], variance * torch.eye(2)[None])


def test_formula_multiplies_brackets_out() -> None:
    found = {name: reading.formula(RING.rule(name), RING) for name in RULES}
    assert found["sum"] == r"\varepsilon_g + \varepsilon_s"
    assert found["composable"] == r"\varepsilon_g + \varepsilon_s - \varepsilon_u"
    assert found["guidance"] == r"2\,\varepsilon_s - \varepsilon_u"
    # The original model is the unconditional one, and another name does not hide it.
    assert found["concept"] == r"- 0.5\,\varepsilon_g + 1.5\,\varepsilon_s"
    assert found["ramp"].count("(t)") == 2


@pytest.mark.parametrize("name", [name for name in RULES if name != "ramp"])
def test_formula_is_what_the_rule_computes(name: str) -> None:
    rule, text = RING.rule(name), reading.formula(RING.rule(name), RING)
    text = text.replace("\\,", "*").replace(r"\varepsilon_", "")
    y, c = torch.randn(5, 2, generator=stream(0, "y")), torch.zeros(5, 2)
    members = {"g": RING.general, "s": RING.specialised, "u": RING.unconditional}
    said = eval(text, {}, {symbol: m(y, 30, c) for symbol, m in members.items()})
    torch.testing.assert_close(rule(y, 30, c), said, atol=1e-5, rtol=1e-5)


def test_density_exists_where_the_precisions_add_up_to_something_positive() -> None:
    wide, narrow = gaussian(1.0), gaussian(0.25)
    for w, exists in ((0.2, True), (0.33, True), (0.34, False), (1.0, False)):  # 1 + w > 4 w
        rule = Weighted({"wide": wide, "narrow": narrow}, {"wide": 1.0 + w, "narrow": -w})
        assert reading.has_density(rule) == exists
    # Along the bar alone the ring is the narrower one: one direction is enough to have none.
    without = [n for n in RULES if not reading.has_density(RING.rule(n))]
    assert without == ["negation", "concept"]
    assert reading.aim(RING, RING.rule("concept")) is None
    found = reading.aim(RING, RING.rule("sum"))
    assert found is not None and torch.equal(found, RING.target)


def test_floor_is_what_perfect_samples_score() -> None:
    masses, n = RING.masses(RING.target), 2000
    clouds = [RING.truth(n, stream(0, i)) for i in range(25)]
    scored = torch.tensor([RING.variation(y, RING.target) for y in clouds])
    error = float(scored.std()) / math.sqrt(len(scored))
    assert abs(float(scored.mean()) - reading.floor(masses, n)) < 4.5 * error
    assert reading.floor(torch.ones(1), n) == 0


def test_promises_tell_the_aim_from_the_product() -> None:
    clouds = {name: RING.truth(3000, stream(0, name)) for name in ("truth", "guidance", "concept")}
    aims = {n: reading.aim(RING, RING.rule(n if n in RULES else "sum")) for n in clouds}
    frame = reading.promises(RING, clouds, aims)
    row = frame.loc["guidance"]
    # Samples of the product are as far from another aim as that aim is from the product.
    assert row["aim to product"] == pytest.approx(row["samples to aim"], abs=row["floor"] + 0.1)
    assert frame.loc["truth", "aim to product"] < 1e-9
    assert frame.loc["concept"].isna().sum() == 3
