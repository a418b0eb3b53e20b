"""The first page: its picture is what the code draws, and its numbers are those of the tables."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch

from dualdiff.experiments.overlap import benefits
from dualdiff.experiments.pooling import over_seeds
from dualdiff.experiments.shifted import shifted_table
from dualdiff.pages import contrast, select
from dualdiff.plots import COLOURS, welcome
from dualdiff.readings.overlap import sign_counts, users
from dualdiff.results import committed as results

SVG = "{http://www.w3.org/2000/svg}"
INTRO = (Path(__file__).parent.parent.parent / "book" / "intro.md").read_text()


@pytest.fixture(scope="module")
def panels() -> dict[str, welcome.Panel]:
    return welcome.panels()


@pytest.mark.parametrize("name", welcome.DISTANCES)
def test_the_committed_picture_is_what_the_code_draws(
    name: str, panels: dict[str, welcome.Panel]
) -> None:
    drawn = ElementTree.fromstring(welcome.svg(panels[name]))
    text = (welcome.FOLDER / f"welcome-{name}.svg").read_text()
    committed = ElementTree.fromstring(text)
    assert committed.attrib == drawn.attrib
    for old, new in zip(committed.iter(f"{SVG}circle"), drawn.iter(f"{SVG}circle"), strict=True):
        if "id" in new.attrib:  # the two discs
            assert old.attrib == new.attrib
            continue
        places = [[float(c.attrib[k]) for k in ("cx", "cy")] for c in (old, new)]
        # Another processor rounds in another way.
        assert places[0] == pytest.approx(places[1], abs=0.05)
    assert {COLOURS[n] for n in ("general", "specialised", "joint")} <= set(
        re.findall("#[0-9A-F]{6}", text)
    )


def test_dots_are_samples_and_lie_where_the_page_says(panels: dict[str, welcome.Panel]) -> None:
    assert panels["inside"].shares["in both"] == 1
    assert panels["partly"].shares["in both"] == 1
    assert panels["apart"].shares["in neither"] == 1 == sum(panels["apart"].shares.values())
    assert [panels[n].overlap for n in ("inside", "apart")] == [1, 0]
    assert f"Only {panels['partly'].overlap:.0%} of the home".replace("%", " %") in INTRO
    assert "100 % of the samples are where *neither*" in INTRO
    inside = panels["inside"].samples  # they reach every part of the small disc: all 8 sectors
    offsets = inside - torch.tensor([panels["inside"].distance, 0.0])
    sectors = ((torch.atan2(offsets[:, 1], offsets[:, 0]) / torch.pi + 1) * 4).long().clamp(max=7)
    shares = torch.bincount(sectors, minlength=8) / len(sectors)
    assert shares.min() > 0.06  # an eighth each, if perfectly even
    assert (offsets.norm(dim=1) > 0.9).float().mean() > 0.05
    world = shifted_table(panels["partly"].distance)
    assert world.general != world.specialised


def score(part: str, configuration: str, metric: str, **where: object) -> str:
    rows = select(results.load(part)[0], configuration=configuration, metric=metric, **where)
    (value,) = over_seeds(rows)["value"]
    return f"{value:.2f}"


def test_the_numbers_of_the_first_page_are_those_of_the_tables() -> None:
    text = " ".join(INTRO.split())
    for part, metric in (
        ("cabinet", "accuracy"),
        ("cabinet_tuned", "accuracy"),
        ("cabinet_tuned", "total_variation"),
    ):
        before, after = (score(part, name, metric) for name in ("specialised", "joint"))
        assert f"from {before} to {after}" in text
    eight = {"n_specialised": 8, "scenario": "cabinet", "target": "specialised"}
    recital = [
        score("adaptation_tuned", "specialised", metric, **eight)
        for metric in ("accuracy", "memorisation", "total_variation")
    ]
    assert f"An accuracy of {recital[0]} can" in text
    assert f"{{term}}`memorisation` {recital[1]}, total variation {recital[2]}" in text
    taught = [
        score("rounds", name, "total_variation", scenario="cabinet", round=number)
        for name, number in (("joint", 0), ("joint", 4), ("smc", 4))
    ]
    assert "variation of {} to {} with the plain sum and to {} with".format(*taught) in text
    metric = {"recipe": "metric", "target": "fresh scenes"}
    robot = [score("robot", name, "success", **metric) for name in ("joint", "specialised")]
    assert f"{robot[0]} against {robot[1]}" in text
    world = {"recipe": "world", "target": "fresh scenes"}
    for rival in ("joint", "specialised"):  # in one frame the general model alone is ahead
        table = results.load("robot_world")[0]
        assert contrast(table, "general", rival, "success", **world)["better"].eq(1).all()
    tables = [results.load(part)[0] for part in ("sweep", "sweep_tuned")]
    counts = sign_counts(benefits(pd.concat(tables)))
    assert f"{counts['right'].sum()} of {counts['settings'].sum()} settings" in text
    assert f"right in {counts['constant'].sum()} as well" in text
    ours = select(users(results.load("border")[0]), recipe="tuned")
    sign, fixed = ours["sign"].sum(), ours["fixed"].sum()
    assert f"right for {sign} of {len(ours)} users, the answer *no* for {fixed}" in text
    assert ours["sure"].sum() > 0 == ours["wrong"].sum()
