"""What the robot chapter says of its rows, checked on a small data set and on made-up tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dualdiff import report_robot_data as words
from dualdiff.robot import analysis
from dualdiff.robot.dataset import FRAMES, generate
from dualdiff.robot.kinds import TYPES
from dualdiff.robot.members import Workshop
from dualdiff.robot.settings import SCALES, SETTINGS
from dualdiff.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def rows(store: Store) -> pd.DataFrame:
    return generate(12, 0, store=store)


def test_the_world_in_words() -> None:
    text = words.world_sentence()
    assert "side 20" in text and "radius 2;" in text and "between 2 and 4" in text
    assert "5,000 draws" in words.differences()
    view = words.kinds_view()
    assert view.loc["ball, bin", "picked up"] == "Ball 0.25–0.5, square"
    assert view.loc["stick, basket", "container"] == "Basket 7–10 × 3–5"


def test_a_task_in_numbers(rows: pd.DataFrame) -> None:
    view = words.task_view(rows, 4)
    assert list(view.columns) == ["1: Ball", "2: Bin", "3: Ball", "4: Bin"]
    assert len(view) == 10 + 2 * len(FRAMES)
    # Every move starts where the last one ended.
    for here, before in (("2: Bin", "1: Ball"), ("3: Ball", "2: Bin")):
        place = view.loc[["target, world: x", "target, world: y"], before]
        assert list(view.loc[["robot_x", "robot_y"], here]) == list(place)


def test_clouds_are_thinned(rows: pd.DataFrame) -> None:
    found = words.clouds(rows, "metric", limit=10)
    assert list(found) == [name for name in TYPES if name != "Ball"]
    assert all(len(cloud) <= 10 for cloud in found.values())


def test_both_averages_of_the_acceptance() -> None:
    # Half of the scenes accept every draw, the others needed three.
    draws = [1, 3] * 50
    rows = pd.DataFrame({"type": [TYPES.index("Ball")] * 100, "draws": draws})
    found = words.acceptance(rows)
    assert found.loc["Ball"].to_list() == [100, 0.5, 0.5]
    assert words.acceptance_view(found).loc["Ball", "draws per row"] == "2"
    assert "chance 50.0%" in words.acceptance_sentence(found)


def test_full_data_beside_the_thesis() -> None:
    lines = []
    for name in TYPES:
        lines += [(name, "rows", 200_000), (name, "tasks", 9_000), (name, "draws per row", 12.3)]
    lines += [("tasks", "begun", 500), ("tasks", "finished", 450)] * 2
    lines += [("run", "seconds", 60.0), ("run", "seconds", 30.0)]
    lines += [("run", "memory", 1.5), ("run", "memory", 2.0)]
    table = pd.DataFrame(lines, columns=["target", "metric", "value"])
    text = words.data_sentence(table)
    assert "1,000 tasks give 1,800,000 rows" in text and "90% of the tasks" in text
    assert "94% of the thesis's 1,918,048" in text and "1.5 minutes" in text and "2.0 GB" in text
    view = words.data_view(table)
    assert view.loc["the nine general types", "rows"] == "1,800,000"
    unknown = table.assign(value=table["value"].where(table["target"] != "run", np.nan))
    assert "GB" not in words.data_sentence(unknown)


def test_targets_of_balls_lie_far_out_in_widths(rows: pd.DataFrame) -> None:
    text = words.away_sentence(rows)
    assert "4.5 widths" in text and "16.5 at the most" in text
    sides, lengths = words._from_middle(words.of_type(rows, "Ball"))
    assert sides.min() >= 4.5 - 1e-3 and lengths.min() >= 2


def test_networks_and_losses(store: Store) -> None:
    shop = Workshop(SETTINGS["object"], SCALES["smoke"], 0, store)
    curves = words.loss_curves(shop)
    assert {name: len(c) for name, c in curves.items()} == {
        "general": SCALES["smoke"].general_steps,
        "specialised": 4 * SCALES["smoke"].specialised_epochs,
        "finetuned": 4 * SCALES["smoke"].finetune_epochs,
    }
    assert "212,482 weights instead of the 56,835" in words.network_sentence(shop)
    made = {"general": torch.full((20,), 0.5), "specialised": torch.full((5,), 0.25)}
    assert "general 0.500, specialised 0.250 (lowest: specialised)" in words.loss_sentence(
        {"object": made}
    )


def test_two_samples(rows: pd.DataFrame, tmp_path: Path) -> None:
    source = torch.Generator().manual_seed(0)
    balls, books = (words.of_type(rows, name) for name in ("Ball", "Book"))
    first, second = words.same_size(books, balls, source)
    assert len(first) == len(second) == first["task"].nunique() <= 12
    tests = words.permutation_tests(books, balls, "object", source)
    assert list(tests) == ["features", "targets", "features and targets"]
    assert tests["features"].p < 0.01  # the sides alone tell them apart
    again = words.permutation_tests(balls.iloc[::2], balls.iloc[::2], "object", source)
    view = words.permutation_view({"other": tests, "same": again})
    assert view.loc[("other", "features"), "verdict"] == "different"
    assert view.loc[("same", "targets"), "verdict"] == "not told apart"
    table = words.feature_table(books, balls)
    assert set(table.index[:2]) <= {"obj_w", "obj_h"} and table["distance"].iloc[0] == 1
    assert "`obj_" in words.feature_sentence(table)
    own, scores = (words.components(books, balls, standardised=k) for k in (False, True))
    assert (own.first.mean(0) * len(books) + own.second.mean(0) * len(balls)).abs().max() < 1e-6
    assert own.shares.sum() == pytest.approx(1)
    assert words.plane_overlap(scores)[0] < words.plane_overlap(own)[0]  # the sides stand out
    text = words.components_sentence(own, scores)
    assert "in their own units" in text and "in z-scores" in text
    places = analysis.targets_of(balls, "world")[:, None]
    features = words.features_of(balls)
    assert words.in_frame("metric", features, places).shape == (len(balls), 2)
