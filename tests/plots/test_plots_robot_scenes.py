"""Drawings of the robot's scenes show what the simulator says."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Polygon

from dualdiff.plots import COLOURS, LABELS, robot_panels, robot_scenes
from dualdiff.robot.kinds import ENVIRONMENTS, RADIUS, REACH
from dualdiff.robot.scenes import Scenes, draw_scenes
from dualdiff.robot.tasks import oracle, perform, position
from tests.conftest import generator

DRAWN = ("succeeds", "fails")
"""Labels of the two kinds of samples."""


pytestmark = pytest.mark.usefixtures("drawing")


def fresh(n: int = 1, name: str = "ball, bin", seed: int = 11) -> Scenes:
    return draw_scenes(ENVIRONMENTS[name], n, generator(seed))


def places(scenes: Scenes, k: int, column: int = 1) -> torch.Tensor:
    """World positions that succeed, ``[n, k, 2]``."""
    kind = robot_scenes.kind_of(scenes, column)
    offsets = [oracle(scenes, kind, column, generator(s)).offsets for s in range(k)]
    return position(torch.stack(offsets, 1), scenes.objects[:, None, column])


def counts(axes) -> dict[str, int]:
    """How many samples are drawn as successes and failures."""
    named = {c.get_label(): c for c in axes.collections}
    return {k: len(named[k].get_offsets()) for k in DRAWN if k in named}


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("column", [0, 1])
def test_a_scene_has_all_its_objects_and_the_robot(name: str, column: int) -> None:
    scenes = fresh(name=name)
    _, axes = plt.subplots()
    robot_scenes.scene(axes, scenes, 0, column, feasible=False)
    sizes = sorted(patch.radius for patch in axes.patches if isinstance(patch, Circle))
    assert {RADIUS, REACH} <= set(sizes)
    looks = [to_hex(p.get_facecolor()) for p in axes.patches if isinstance(p, Polygon)]
    obstacles = int(scenes.present[0, 1 + scenes.goals :].sum())
    assert looks.count(robot_scenes.LOOKS["obstacle"]["facecolor"].lower()) == obstacles
    goals = int(scenes.present[0, 1 : 1 + scenes.goals].sum()) - column
    assert looks.count("#ffffff") == goals
    assert axes.get_aspect() == 1


def test_samples_are_dots_where_they_succeed_and_crosses_where_not() -> None:
    scenes = fresh()
    good = places(scenes, 7)[0]
    bad = scenes.objects[0, 1, :2].expand(3, 2)  # upon the object
    lost = torch.full((2, 2), torch.nan)
    _, axes = plt.subplots()
    beyond = torch.tensor([[-3.0, 5.0]])  # stands where the robot is stopped
    samples = torch.cat([good, bad, lost, beyond])
    robot_scenes.scene(axes, scenes, 0, 1, samples=samples, colour=COLOURS["joint"], resolution=20)
    assert counts(axes) == {"succeeds": 8, "fails": 3}
    dots = next(c for c in axes.collections if c.get_label() == "succeeds")
    assert to_hex(dots.get_facecolor()[0]) == COLOURS["joint"].lower()
    assert [0, 5] in dots.get_offsets().tolist()


def test_the_shaded_region_is_where_moves_succeed() -> None:
    scenes = fresh()
    _, axes = plt.subplots()
    robot_scenes.scene(axes, scenes, 0, 1, resolution=200)
    filled = next(c for c in axes.collections if c.get_zorder() == 2)
    inside = [
        any(path.contains_point(at) for path in filled.get_paths())
        for at in places(scenes, 40)[0].clamp(0.05, 19.95).tolist()
    ]
    assert sum(inside) >= 36  # the rim is known to the width of the grid
    assert not any(
        path.contains_point(scenes.objects[0, 1, :2].tolist()) for path in filled.get_paths()
    )


def test_what_cannot_be_drawn_is_refused() -> None:
    scenes = fresh()
    _, axes = plt.subplots()
    with pytest.raises(ValueError, match="column must be 0"):
        robot_scenes.scene(axes, scenes, 0, 1 + scenes.goals)
    with pytest.raises(ValueError, match=r"samples must have shape \[k, 2\]"):
        robot_scenes.scene(axes, scenes, 0, 1, samples=torch.zeros(3))
    with pytest.raises(ValueError, match="1 scene, not of 2"):
        robot_panels.task_steps(fresh(2), generator(0))
    for samples in ({"general": torch.zeros(3, 4, 2)}, {}):
        with pytest.raises(ValueError, match="general has samples of 3 scenes|no samples"):
            robot_panels.samples_in_scenes(fresh(2), 1, samples)


def test_the_legend_names_all_that_is_drawn() -> None:
    figure, axes = plt.subplots()
    robot_scenes.legend(figure)
    robot_scenes.label(axes)
    words = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {*robot_scenes.LOOKS, "robot", "reach", "succeeds from here"} < words
    assert axes.get_xlabel() == "x [workspace units]"


def test_a_task_is_drawn_as_it_was_done() -> None:
    scenes = fresh()
    before = scenes.rows(torch.tensor([0]))
    figure = robot_panels.task_steps(scenes, generator(0), steps=4, columns=2)
    assert torch.equal(scenes.robot, before.robot)
    assert torch.equal(scenes.present, before.present)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "1  go to ball 1, pick it up" and titles[3] == "4  ball 2 into the bin"
    moves = perform(before, generator(0))
    for axes in figure.axes:
        next(moves)
        (path,) = [a for a in axes.texts if hasattr(a, "arrow_patch")]
        assert path.xy == pytest.approx(tuple(before.robot[0, :2].tolist()))
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == [False, False, True, True]


def test_a_task_of_fewer_steps_leaves_panels_empty() -> None:
    figure = robot_panels.task_steps(fresh(), generator(0), steps=4, columns=3)
    assert [axes.get_visible() for axes in figure.axes] == [True] * 4 + [False] * 2


def test_what_is_held_is_at_the_tip_of_the_arm() -> None:
    scenes = fresh()
    held = robot_panels.held(scenes, 1)
    middle = robot_scenes.centres(held)
    assert float((middle - scenes.robot[0, :2]).norm()) == pytest.approx(REACH)
    assert not torch.equal(held, scenes.objects[0, 1])


def test_samples_in_scenes_say_how_many_succeed() -> None:
    scenes = fresh(2)
    good = places(scenes, 4)
    bad = scenes.objects[:, None, 1, :2].expand(2, 4, 2)
    samples = {"oracle": good, "general": torch.cat([good, bad], 1)}
    figure = robot_panels.samples_in_scenes(scenes, 1, samples, resolution=20)
    assert len(figure.axes) == 4
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == f"{LABELS['oracle']}\n100 % succeed"
    assert titles[3] == "50 % succeed"
    assert counts(figure.axes[3]) == {"succeeds": 4, "fails": 4}
    x = figure.axes[2].get_xlim()
    middle = float(robot_scenes.centres(scenes.objects[1, 1])[0])
    assert x == pytest.approx((middle - 6, middle + 6))
