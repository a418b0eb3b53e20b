"""What the robot's pages read from rows, scenes and tables has known answers."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from robot_sizes import TINY

from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import tidy
from dualdiff.pages import style
from dualdiff.plots import robot as plots
from dualdiff.readings import robot as reading
from dualdiff.robot.dataset import FRAMES, features_of, generate
from dualdiff.robot.kinds import KINDS, TYPES
from dualdiff.robot.settings import REFERENCE
from dualdiff.robot.study import REFERENCES, RobotTrial


@pytest.fixture(scope="module")
def rows(store: Store) -> pd.DataFrame:
    return generate(12, 0, store=store)


def of_type(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["type"] == TYPES.index(name)]


def test_trials_are_read_as_one_table(store: Store) -> None:
    trials = [RobotTrial(REFERENCE, TINY, 0, name) for name in REFERENCES]
    table = tidy(trials, store)
    assert list(table["configuration"].unique()) == list(REFERENCES)
    assert "seconds" not in table
    assert reading.scale("smoke", 50).n_specialised == 50


def test_references_stand_in_every_setting() -> None:
    keys = [("simulator", "oracle", 0.4), ("object", "joint", 0.3), ("world", "joint", 0.2)]
    table = pd.DataFrame(keys, columns=["recipe", "configuration", "value"])
    found = reading.beside_references(table)
    assert found.value_counts("recipe").to_dict() == {"object": 2, "world": 2}
    assert set(found.loc[found["configuration"] == "oracle", "value"]) == {0.4}
    assert found.query("configuration == 'joint'")["value"].to_list() == [0.3, 0.2]


def test_a_robot_stands_two_to_four_away_in_every_frame() -> None:
    for kind in ("Ball", "Book"):
        place, good = reading.ring("world", kind, (7.0, 12.0), 0.4)
        made = KINDS[kind]
        sides = torch.tensor([sum(s) / 2 for s in (made.width, made.height or made.width)])
        metric, same = reading.ring("metric", kind, (7.0, 12.0), 0.4)
        away = (metric.abs() - sides / 2).clamp(min=0).norm(dim=-1)
        assert torch.equal(good, same)
        assert torch.equal(good, (away > 2) & (away <= 4))
        # The grid is one in all frames: centred on the object, turned with it in the world.
        assert place.mean((0, 1)).tolist() == pytest.approx([7.0, 12.0])
        objects, _ = reading.ring("object", kind)
        assert ((objects - 0.5) * sides - metric).abs().max() < 1e-9
    # Widths of a ball: from two radii over the width, and a half.
    ball, good = reading.ring("object", "Ball")
    assert float((ball[good] - 0.5).norm(dim=-1).min()) == pytest.approx(2 / 0.375 + 0.5, abs=0.1)


def test_both_averages_of_the_acceptance() -> None:
    # Half of the scenes accept every draw, the others needed three.
    rows = pd.DataFrame({"type": [TYPES.index("Ball")] * 100, "draws": [1, 3] * 50})
    found = reading.acceptance(rows)
    assert found.index.to_list() == ["Ball"]
    assert found.loc["Ball"].to_list() == [100, 0.5, 0.5]


def test_the_typical_scene_is_the_one_nearest_to_the_means() -> None:
    shares = {"a": torch.tensor([0.0, 0.5, 1.0]), "b": torch.tensor([0.4, 0.2, 0.0])}
    assert reading.typical(shares) == 1


def test_two_samples(rows: pd.DataFrame) -> None:
    source = torch.Generator().manual_seed(0)
    balls, books = (of_type(rows, name) for name in ("Ball", "Book"))
    first, second = reading.same_size(books, balls, source)
    assert len(first) == len(second) == first["task"].nunique() <= 12
    x, z = features_of(books), features_of(balls)
    assert reading.two_sample_test(x, z, source).p < 0.01  # the sides alone tell them apart
    assert reading.two_sample_test(z, z, source).p == 1
    stretched = torch.tensor([10.0]) ** torch.arange(10)
    tests = [
        reading.two_sample_test(x * k, z * k, torch.Generator().manual_seed(1))
        for k in (torch.ones(10), stretched)
    ]
    assert tests[0].observed == pytest.approx(tests[1].observed, rel=1e-4)  # units do not count


def test_planes_of_components(rows: pd.DataFrame) -> None:
    balls, books = (of_type(rows, name) for name in ("Ball", "Book"))
    own, scores = (reading.components(books, balls, standardised=k) for k in (False, True))
    assert (own.first.mean(0) * len(books) + own.second.mean(0) * len(balls)).abs().max() < 1e-6
    assert own.shares.sum() == pytest.approx(1)
    assert reading.plane_overlap(scores) < reading.plane_overlap(own)  # the sides stand out
    assert reading.plane_overlap(own._replace(second=own.first)) == pytest.approx(1)


def test_clouds_say_what_lies_beyond_their_axes() -> None:
    inside = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    beyond = torch.cat([inside, torch.full((3, 2), 9.0)])
    figure = plots.clouds({"truth": inside, "joint": beyond}, "metric", columns=3)
    first, second, empty = figure.axes
    assert first.get_title(loc="right") == "" and second.get_title(loc="right") == "3 outside"
    assert first.get_xlim() == second.get_xlim() and not empty.get_visible()
    (drawn,) = second.collections
    assert len(drawn.get_offsets()) == 53
    assert to_hex(drawn.get_facecolor()[0]) == style("joint")["color"].lower()
    assert figure.get_supxlabel() == plots.AXES["metric"][0] and set(plots.AXES) == set(FRAMES)
    with pytest.raises(ValueError, match=r"shape \[n >= 1, 2\]"):
        plots.clouds({"truth": torch.zeros(3)}, "metric")
    plt.close("all")
