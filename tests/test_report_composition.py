"""What the chapter on composition rules says: laws with known answers, and made-up tables."""

import math

import pandas as pd
import pytest
import torch

from dualdiff import report_composition as words
from dualdiff.compose import RULES, Rule, Weighted, weighted
from dualdiff.exact import ExactMixture
from dualdiff.members import stream
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.samplers import sample
from dualdiff.scenes import SCENES, Boxes, Plane

RING, BOXES = SCENES["ring_and_bar"](), SCENES["boxes"]()
assert isinstance(RING, Plane) and isinstance(BOXES, Boxes)


def gaussian(variance: float) -> ExactMixture:
    return ExactMixture(RING.process, [1.0], [[0.0, 0.0]], variance * torch.eye(2)[None])


def test_formula_multiplies_brackets_out() -> None:
    found = {name: words.formula(RING.rule(name), RING) for name in RULES}
    assert found["sum"] == r"\varepsilon_g + \varepsilon_s"
    assert found["composable"] == r"\varepsilon_g + \varepsilon_s - \varepsilon_u"
    assert found["guidance"] == r"2\,\varepsilon_s - \varepsilon_u"
    # The original model is the unconditional one, and another name does not hide it.
    assert found["concept"] == r"- 0.5\,\varepsilon_g + 1.5\,\varepsilon_s"
    assert found["ramp"].count("(t)") == 2
    assert found["average"] == r"0.5\,\varepsilon_g + 0.5\,\varepsilon_s"


@pytest.mark.parametrize("name", [name for name in RULES if name != "ramp"])
def test_formula_is_what_the_rule_computes(name: str) -> None:
    rule, text = RING.rule(name), words.formula(RING.rule(name), RING)
    text = text.replace("\\,", "*").replace(r"\varepsilon_", "")
    y, c = torch.randn(5, 2, generator=stream(0, "y")), torch.zeros(5, 2)
    members = {"g": RING.general, "s": RING.specialised, "u": RING.unconditional}
    said = eval(text, {}, {symbol: m(y, 30, c) for symbol, m in members.items()})
    torch.testing.assert_close(rule(y, 30, c), said, atol=1e-5, rtol=1e-5)


def test_every_rule_is_in_the_table_with_its_cost() -> None:
    head, rule, *rows = words.rules_markdown(RING).splitlines()
    assert len(rows) == len(RULES) and rule.count("---") == head.count("|") - 1
    cells = [row.strip("|").split("|") for row in rows]
    assert [c[0].strip() for c in cells] == [r.title for r in RULES.values()]
    assert [int(c[-1]) for c in cells] == [len(RING.rule(n).active()) for n in RULES]


def test_gaussian_table_is_what_a_chain_does() -> None:
    process = Process.linear(dy=1, dc=1)
    frame = words.gaussian_table(process)
    assert set(frame.index) == {rule.title for rule in RULES.values()}
    unit = ExactMixture(process, [1.0], [[0.0]], [[[1.0]]])
    n = 5_000
    for title in (RULES["sum"].title, RULES["video_adapter"].title):
        total = frame.loc[title, "B"]
        assert frame.loc[title, "variance of the product"] == pytest.approx(1 / total)
        drawn = sample(Weighted({"a": unit}, {"a": total}), torch.zeros(n, 1), stream(0, title))
        expected = frame.loc[title, "of the samples"]
        assert float(drawn.var()) == pytest.approx(expected, rel=4.5 * math.sqrt(2 / n))
    alike = frame[(frame["B"] - 1).abs() < 1e-9]
    assert (alike["of the samples"] - 1).abs().max() < 0.01


def test_new_rules_are_in_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that have the title of another."""
    for name, weights in (("mine", (2.0, -1.0)), ("again", (0.5, 0.5)), ("much", (3.0, 2.0))):
        monkeypatch.setitem(RULES, name, Rule("joint sum (1, 1)", "p", weighted(*weights)))
    frame = words.gaussian_table(Process.linear(dy=1, dc=1))
    assert len(frame) == len(RULES)
    assert len(words.rules_markdown(RING).splitlines()) == len(RULES) + 2
    assert len(words.scores_table(table(0.5), "boxes")) == len(RULES)
    inside = BOXES.truth(10, stream(0, "truth"))
    assert len(words.places_table(BOXES, dict.fromkeys(RULES, inside))) == len(RULES)


def test_density_exists_where_the_precisions_add_up_to_something_positive() -> None:
    wide, narrow = gaussian(1.0), gaussian(0.25)
    for w, exists in ((0.2, True), (0.33, True), (0.34, False), (1.0, False)):  # 1 + w > 4 w
        rule = Weighted({"wide": wide, "narrow": narrow}, {"wide": 1.0 + w, "narrow": -w})
        assert words.has_density(rule) == exists
    # Along the bar alone the ring is the narrower one: one direction is enough to have none.
    assert [n for n in RULES if not words.has_density(RING.rule(n))] == ["negation", "concept"]
    assert words.aim(RING, RING.rule("concept")) is None
    found = words.aim(RING, RING.rule("sum"))
    assert found is not None and torch.equal(found, RING.target)


def test_floor_is_what_perfect_samples_score() -> None:
    masses, n = RING.masses(RING.target), 2000
    clouds = [RING.truth(n, stream(0, i)) for i in range(25)]
    scored = torch.tensor([RING.variation(y, RING.target) for y in clouds])
    error = float(scored.std()) / math.sqrt(len(scored))
    assert abs(float(scored.mean()) - words.floor(masses, n)) < 4.5 * error
    assert words.floor(torch.ones(1), n) == 0


def test_aim_table_tells_the_aim_from_the_product() -> None:
    clouds = {name: RING.truth(3000, stream(0, name)) for name in ("truth", "guidance", "concept")}
    aims = {n: words.aim(RING, RING.rule(n if n in RULES else "sum")) for n in clouds}
    frame = words.aim_table(RING, clouds, aims)
    row = frame.loc["guidance"]
    # Samples of the product are as far from another aim as that aim is from the product.
    assert row["aim to product"] == pytest.approx(row["samples to aim"], abs=row["floor"] + 0.1)
    assert frame.loc["truth", "aim to product"] < 1e-9 and frame.loc["concept"].isna().sum() == 3
    assert words.shown(frame).loc[RULES["concept"].title, "samples to aim"] == "–"
    sentence = words.aim_sentence(frame)
    assert f"Nearer to the product than to what it aims at: {RULES['guidance'].title}." in sentence
    assert sentence.endswith(f"Without a density to aim at: {RULES['concept'].title}.")


def test_places_add_up_and_know_the_boxes() -> None:
    inside = BOXES.truth(100, stream(0, "truth"))
    step = torch.tensor([1.0, 0.0, 0.0])
    clouds = {"sum": inside, "ramp": inside + step, "average": inside - step, "concept": 5 + inside}
    frame = words.places_table(BOXES, clouds)
    assert (frame.sum(axis=1) == 1).all()
    wanted = ["in both", "specialised only", "general only", "in neither"]
    assert [frame.loc[name].idxmax() for name in clouds] == wanted


def table(ramp: float) -> pd.DataFrame:
    """Rules whose TV falls in the order of RULES, but for the ramp's."""
    columns = ["scene", "name", "metric", "value", "low", "high"]
    rows = []
    for scene in SCENES:
        for i, name in enumerate(RULES):
            tv = 0.9 - 0.05 * i if name != "ramp" else (0.01 if scene == "cabinet" else ramp)
            for metric, value in (
                ("accuracy", 1 - tv / 2),
                ("total_variation", tv),
                ("total_variation_floor", 0.005),
                ("energy_distance", tv / 10),
                ("calls", 300.0),
            ):
                rows.append((scene, name, metric, value, value - 0.01, value + 0.01))
    return pd.DataFrame(rows, columns=columns)


def test_scores_are_shown_by_rule_with_intervals() -> None:
    frame = words.scores_table(table(0.95), "boxes")
    assert list(frame.index) == [rule.title for rule in RULES.values()]
    assert list(frame.columns) == list(words.COLUMNS.values())
    assert frame.loc[RULES["sum"].title, "total variation"] == "0.900 ± 0.010"
    assert set(frame["calls"]) == {"300"}
    assert words.head(table(0.95), "boxes") == "**Half-shared boxes** (floor of TV 0.005)"


def test_ranks_are_counted_and_the_winner_named() -> None:
    bad, good = table(0.95), table(0.01)
    sentence = words.ramp_sentence(bad, BOXES)
    assert f"number **1** of {len(RULES)} rules" in sentence
    assert f"number **{len(RULES)}** on the half-shared boxes" in sentence
    assert "the specialised model alone would have 50%" in sentence
    last = RULES["video_adapter"].title
    assert f"lowest TV for {last} (0.500, floor 0.005)" in words.best_sentence(bad)
    assert words.best_sentence(bad).endswith("No rule has the lowest TV in every scene.")
    same = f"The same rule, {RULES['ramp'].title}, has the lowest TV in every scene."
    assert words.best_sentence(good).endswith(same)
    lines = words.family_sentence(bad, "sum", "ramp").splitlines()
    assert lines[0].startswith(f"- {RULES['sum'].title}") and "0.550 / 0.900" in lines[0]
    assert len(lines) == 2 and "boxes 0.525 / 0.950" in lines[1]


def test_guidance_table_has_spread_and_accuracy_beside_the_truth() -> None:
    box, c = Box((-1.0, -1.0), (0.0, 0.0)), torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    y = box.draw(c, stream(0, "y"), 4000)
    middle = c[:, None] - 0.5
    frame = words.guidance_table({0.0: y, 1.0: middle + (y - middle) / 2, -1.0: y + 5.0}, c, box)
    assert list(frame.index) == ["w = 0", "w = 1", "w = -1", "truth"]
    spread, accuracy = frame.iloc[:, 0], frame["accuracy"]
    assert spread["w = 0"] == pytest.approx(spread["truth"], rel=0.03)
    assert spread["w = 1"] == pytest.approx(spread["w = 0"] / 2)
    assert accuracy.tolist() == [1.0, 1.0, 0.0, 1.0]


def test_own_sentence_states_weights_and_start() -> None:
    members = {"general": RING.general, "specialised": RING.specialised}
    rule = Weighted(members, {"general": 1.5, "specialised": 2.5})
    wanted = words.aim(RING, rule)
    clouds = {name: RING.truth(1000, stream(0, name)) for name in ("own", "narrow")}
    frame = words.aim_table(RING, clouds, dict.fromkeys(clouds, wanted))
    sentence = words.own_sentence(frame, rule)
    assert sentence.startswith("Weights 1.5 (general) and 2.5 (specialised)")
    assert "standard deviation 0.500 instead of 1" in sentence
    assert f"**{frame.loc['own', 'samples to aim']:.3f}**" in sentence
