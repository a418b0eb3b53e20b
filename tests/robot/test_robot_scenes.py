"""Laws of the robot's scenes: what lies where, how it is drawn, and what is drawn anew."""

import itertools
import math
import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from conftest import default_dtype, generator
from scipy import stats
from shapely import affinity
from shapely.geometry import Point
from shapely.geometry.base import BaseGeometry
from torch import Tensor

from dualdiff.robot import scenes as module
from dualdiff.robot.kinds import (
    ENVIRONMENTS,
    FEATURES,
    KINDS,
    OBSTACLES,
    RADIUS,
    REACH,
    SIDE,
    TYPES,
    Environment,
    environment_of,
)
from dualdiff.robot.scenes import Scenes, draw_poses, draw_scenes, draw_sizes, fresh_scenes
from dualdiff.robot.tasks import Move, perform
from dualdiff.robot.world import centres, corners, distance

N = 400
SURE = 1e-4  # the chance that a true law is called false, at a seed not yet fixed
ERRORS = 4  # standard errors that a true mean stays within
TOUCH = 1e-7  # shapely and ours differ by rounding only where sets are closer than this

# As published: sides (None: a square), the box of offsets, and the numbers of goals.
PUBLISHED = {
    "Ball": ((0.25, 0.5), None, (-8, 9), (-8, 9), (8, 9)),
    "Bin": ((4, 6), None, (-8, 9), (-8, 9), (8, 9)),
    "Book": ((0.5, 1), (1, 1.5), (-8, 9), (-4, 5), (4, 5)),
    "Shelf": ((5, 10), (2, 5), (-8, 9), (-4, 5), (4, 5)),
    "Cup": ((0.5, 1), None, (-8, 9), (-8, 9), (4, 5)),
    "Cupboard": ((5, 10), (2, 5), (-8, 9), (-8, 9), (4, 5)),
    "Box": ((0.5, 1), (1, 1.5), (-8, 9), (-4, 5), (4, 5)),
    "Tray": ((11, 13), (3, 5), (-8, 9), (-4, 5), (4, 5)),
    "Stick": ((0.5, 1), (5, 6), (-8, 9), (-4, 5), (2, 3)),
    "Basket": ((7, 10), (3, 5), (-8, 9), (-4, 5), (2, 3)),
}

environments = pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
pickables = pytest.mark.parametrize("name", [e.pickable.name for e in ENVIRONMENTS.values()])
kinds = pytest.mark.parametrize("name", TYPES)


@cache
def drawn(name: str) -> Scenes:
    """Scenes that every law is checked on; nobody changes them."""
    return draw_scenes(ENVIRONMENTS[name], N, generator(1))


@cache
def moves(name: str) -> list[Move]:
    """The first two rounds of some tasks: conditions as they occur."""
    steps = perform(draw_scenes(ENVIRONMENTS[name], 60, generator(2)), generator(3))
    return [move for move, _ in zip(steps, range(4), strict=False)]


def conditions(name: str) -> Tensor:
    """Conditions of a type: of first moves to it, then of second ones."""
    found = [m.features for m in moves(environment_of(name).name) if m.kind.name == name]
    return torch.cat(found)


def columns(scenes: Scenes) -> tuple[slice, slice]:
    """Where goals and obstacles stand."""
    return slice(1, 1 + scenes.goals), slice(1 + scenes.goals, None)


def polygons(scenes: Scenes) -> np.ndarray:
    """Shapely's rectangles ``[n, M]``; what is absent is empty and touches nothing."""
    found = shapely.polygons(corners(scenes.objects).numpy())
    found[~scenes.present.numpy()] = shapely.Polygon()
    return found


def gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances, infinite from what is absent."""
    return np.nan_to_num(shapely.distance(a, b), nan=np.inf)


def in_range(values: Tensor, limits: tuple[float, float]) -> bool:
    return bool(((values >= limits[0]) & (values <= limits[1])).all())


def sizes_obey(rectangles: Tensor, name: str) -> bool:
    """Whether sides are as published and vary."""
    width, height, *_ = PUBLISHED[name]
    w, h = rectangles[:, 2], rectangles[:, 3]
    square = torch.equal(w, h)
    varied = w.max() - w.min() > 0.9 * (width[1] - width[0])
    return bool(varied) and in_range(w, width) and (square if not height else in_range(h, height))


def nothing_overlaps(scenes: Scenes) -> bool:
    """No two objects meet but obstacles and the container; shapely says so."""
    found = polygons(scenes)
    _, obstacles = columns(scenes)
    first_obstacle = obstacles.start
    for k in range(1, found.shape[1]):
        first = 1 if k >= first_obstacle else 0
        if (gaps(found[:, first:k], found[:, k : k + 1]) == 0).any():
            return False
    return True


def container_lies_well(scenes: Scenes) -> bool:
    """Inside the workspace, a cupboard with a side on one of the walls."""
    edge = corners(scenes.objects[:, 0])
    inside = in_range(edge, (-TOUCH, SIDE + TOUCH))
    if not scenes.environment.at_wall:
        return inside
    on = torch.stack([edge.abs() < TOUCH, (edge - SIDE).abs() < TOUCH])  # [low or high, n, 4, 2]
    return inside and bool((on.sum(2) >= 2).any(2).any(0).all())


def robot_distances(scenes: Scenes) -> np.ndarray:
    return gaps(shapely.points(scenes.robot[:, None, :2].numpy()), polygons(scenes))


def obeys(scenes: Scenes) -> bool:
    """What holds of all scenes: the container, the robot, and what may not overlap."""
    clear = bool((robot_distances(scenes) > RADIUS - TOUCH).all())
    inside = in_range(scenes.robot[:, :2], (0, SIDE)) and bool(scenes.present[:, 0].all())
    return clear and inside and container_lies_well(scenes) and nothing_overlaps(scenes)


# ---- the tables ----------------------------------------------------------------------------------


def test_types_and_environments_are_the_published_ones() -> None:
    for name, (_, _, ox, oy, goals) in PUBLISHED.items():
        assert KINDS[name].name == name and KINDS[name].box == (ox, oy)
        environment = environment_of(name)
        assert environment.kind(name) is KINDS[name] and environment.goals == goals
        assert ENVIRONMENTS[environment.name] is environment
        part = {"Cup": "left edge", "Tray": "ends"}.get(name, "all")
        assert KINDS[name].part == part
    assert list(TYPES) == sorted(PUBLISHED) and len(ENVIRONMENTS) == 5
    assert [e.name for e in ENVIRONMENTS.values() if e.at_wall] == ["cup, cupboard"]
    assert len(FEATURES) == 10 and len(set(FEATURES)) == 10


# ---- what lies where -----------------------------------------------------------------------------


@environments
def test_scenes_obey_the_rules(environment: Environment) -> None:
    scenes = drawn(environment.name)
    assert obeys(scenes)
    there = scenes.objects[scenes.present]
    assert sizes_obey(scenes.objects[:, 0], environment.container.name)
    assert sizes_obey(scenes.objects[:, 1:][scenes.present[:, 1:]], environment.pickable.name)
    found = polygons(scenes)
    on = gaps(found[:, :1], found[:, columns(scenes)[1]]) == 0
    assert 0 < on.mean() < 1  # obstacles may lie there, and do
    # Corners lie in the workspace, and things may overhang.
    assert in_range(there[:, :2], (-TOUCH, SIDE + TOUCH))
    assert in_range(there[:, 4], (-math.pi, math.pi))
    edge = corners(scenes.objects[:, 1:][scenes.present[:, 1:]])
    assert ((edge < 0) | (edge > SIDE)).any()


@environments
def test_numbers_of_goals_and_obstacles_are_equally_often_each(environment: Environment) -> None:
    scenes = drawn(environment.name)
    for part, numbers in zip(columns(scenes), (environment.goals, OBSTACLES), strict=True):
        present = scenes.present[:, part]
        count = present.sum(1)
        assert set(count.tolist()) == set(numbers)
        more = int((count == numbers[1]).sum())
        assert stats.binomtest(more, N, 0.5).pvalue > SURE
        # what is missing is at the end
        assert torch.equal(present, torch.arange(present.shape[1]) < count[:, None])


# ---- how it is drawn -----------------------------------------------------------------------------


def equal(one: Scenes, two: Scenes) -> bool:
    return all(map(torch.equal, parts(one), parts(two)))


def parts(scenes: Scenes) -> tuple[Tensor, Tensor, Tensor]:
    return scenes.objects, scenes.present, scenes.robot


@environments
def test_equal_seeds_give_equal_scenes_and_others_do_not(environment: Environment) -> None:
    one, two, other = (draw_scenes(environment, 5, generator(s)) for s in (4, 4, 5))
    assert equal(one, two) and not torch.equal(one.robot, other.robot)
    assert len(one) == 5 and one.objects.shape == (5, 1 + one.goals + 19, 5)
    assert one.robot.isfinite().all() and one.objects.isfinite().all()


@environments
def test_no_wall_of_the_workspace_is_special(environment: Environment) -> None:
    """Quarter turns about the middle keep the law, so places average to it and directions to 0."""
    scenes = drawn(environment.name)
    yaw = scenes.robot[:, 2].numpy()
    assert stats.kstest(yaw, "uniform", (-math.pi, 2 * math.pi)).pvalue > SURE
    objects, present = scenes.objects, scenes.present[:, 2:, None]
    poses = {
        "containers": (centres(objects[:, 0]), objects[:, 0, 4]),
        "robots": (scenes.robot[:, :2], scenes.robot[:, 2]),
        "first goals": (objects[:, 1, :2], objects[:, 1, 4]),
        "others": (objects[:, 2:, :2], objects[:, 2:, 4]),
    }
    for name, (place, yaw) in poses.items():
        there = torch.cat([place - SIDE / 2, yaw.cos()[..., None], yaw.sin()[..., None]], dim=-1)
        if there.ndim == 3:  # one number a scene: its objects depend on each other
            there = (there * present).sum(1) / present.sum(1)
        error = there.std(0) / math.sqrt(N)
        assert (there.mean(0).abs() < ERRORS * error).all(), name


@kinds
def test_sizes_are_uniform(name: str) -> None:
    found = draw_sizes(KINDS[name], generator(6), 2000).numpy()
    width, height, *_ = PUBLISHED[name]
    for side, (low, high) in zip(found.T, (width, height or width), strict=True):
        assert stats.kstest(side, "uniform", (low, high - low)).pvalue > SURE
    if height:  # and independent of each other
        assert stats.kendalltau(*found.T).pvalue > SURE


def test_poses_are_uniform_and_their_parts_independent() -> None:
    found = draw_poses(generator(7), 40, 50).view(-1, 3).numpy()
    for part, low, width in zip(found.T, (0, 0, -math.pi), (SIDE, SIDE, 2 * math.pi), strict=True):
        assert stats.kstest(part, "uniform", (low, width)).pvalue > SURE
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert stats.kendalltau(found[:, i], found[:, j]).pvalue > SURE


def test_cupboards_choose_walls_alike_and_stand_anywhere_along_them() -> None:
    objects = draw_scenes(ENVIRONMENTS["cup, cupboard"], 2000, generator(8)).objects[:, 0]
    wall = (objects[:, 4] / (math.pi / 2)).round().long() % 4
    assert stats.chisquare(torch.bincount(wall, minlength=4).numpy()).pvalue > SURE
    # from the start of the wall that it stands at, going round counter-clockwise
    x, y, width = objects[:, 0], objects[:, 1], objects[:, 2]
    along = torch.stack([x, y, SIDE - x, SIDE - y]).gather(0, wall[None])[0]
    share = (along / (SIDE - width)).numpy()
    assert stats.kstest(share, "uniform").pvalue > SURE


# ---- a slow drawer as the reference --------------------------------------------------------------


class Naive:
    """One scene at a time with shapely and plain rejection."""

    def __init__(self, environment: Environment, rng: np.random.Generator) -> None:
        self.environment, self.rng = environment, rng
        floor = shapely.box(0, 0, SIDE, SIDE).buffer(TOUCH)
        self.container = self.pose(environment.container.name, floor.covers)
        clear = self.container.buffer(RADIUS, 64)
        while clear.covers(point := Point(rng.uniform(0, SIDE, 2))):
            pass
        robot = point.buffer(RADIUS, 64)
        self.robot, self.free = point, [robot]
        goals = rng.integers(*environment.goals, endpoint=True)
        self.goals = [self.put([self.container]) for _ in range(goals)]
        number = rng.integers(*OBSTACLES, endpoint=True)
        self.obstacles = [self.put([]) for _ in range(number)]

    def pose(self, name: str, good: Callable[[BaseGeometry], bool]) -> BaseGeometry:
        width, height, *_ = PUBLISHED[name]
        w = self.rng.uniform(*width)
        h = self.rng.uniform(*height) if height else w
        while True:
            x, y = self.rng.uniform(0, SIDE, 2)
            turn = self.rng.uniform(-math.pi, math.pi)
            found = affinity.rotate(shapely.box(x, y, x + w, y + h), turn, (x, y), True)
            if self.environment.at_wall and name == self.environment.container.name:
                along = self.rng.uniform(0, SIDE - w)
                found = shapely.box(along, 0, along + w, h)
                quarter = int(self.rng.integers(4)) * 90
                found = affinity.rotate(found, quarter, (SIDE / 2, SIDE / 2))
            if good(found):
                return found

    def put(self, others: list[BaseGeometry]) -> BaseGeometry:
        """A pickable that meets none of these, the robot, and what was put."""
        there = shapely.union_all([*self.free, *others])
        found = self.pose(self.environment.pickable.name, there.disjoint)
        self.free.append(found)
        return found

    def facts(self) -> tuple[float, ...]:
        return facts(self.container, self.robot, self.goals, self.obstacles)


def facts(
    container: Any, robot: Point, goals: list[Any], obstacles: list[Any]
) -> tuple[float, ...]:
    """What the laws of both drawers are compared by, of one scene."""
    centre, last, around = container.centroid, obstacles[-1], shapely.union_all(obstacles)
    places = (centre.x, centre.y, robot.x, robot.y, goals[0].centroid.x, goals[-1].centroid.y)
    away = [container.distance(other) for other in (robot, goals[-1], last)]
    clear = (robot.distance(around), goals[0].distance(around))
    return (*places, last.centroid.x, container.area, *away, *clear)


@environments
def test_scenes_have_the_law_of_a_slow_drawer(environment: Environment) -> None:
    rng = np.random.default_rng(9)
    naive = np.array([Naive(environment, rng).facts() for _ in range(120)]).T
    scenes = drawn(environment.name)
    rows = zip(polygons(scenes), scenes.robot[:, :2].tolist(), strict=True)
    there = [([s for s in row if not s.is_empty], Point(at)) for row, at in rows]
    goals = scenes.present[:, columns(scenes)[0]].sum(1) + 1
    ours = np.array(
        [facts(s[0], at, s[1:g], s[g:]) for (s, at), g in zip(there, goals.tolist(), strict=True)]
    ).T
    assert len(naive) == len(ours) == 13
    for one, two in zip(naive, ours, strict=True):
        assert stats.ks_2samp(one, two).pvalue > SURE / 13


# ---- fresh scenes for conditions -----------------------------------------------------------------


@kinds
def test_fresh_scenes_keep_the_object_and_the_robot_and_obey_the_rules(name: str) -> None:
    features, kind = conditions(name), KINDS[name]
    environment = environment_of(name)
    scenes = fresh_scenes(kind, features, generator(10))
    column = 0 if kind is environment.container else 1
    assert torch.equal(scenes.objects[:, column], features[:, :5])
    assert torch.equal(scenes.robot, features[:, 6:9])
    assert scenes.present[:, column].all() and len(scenes) == len(features) and obeys(scenes)
    goals, obstacles = (scenes.present[:, part].sum(1) for part in columns(scenes))
    assert set(obstacles.tolist()) == set(OBSTACLES)
    assert goals.max() <= environment.goals[1] - (column == 0)
    others = scenes.objects[:, 1 + (column == 1) :]
    there = scenes.present[:, 1 + (column == 1) :]
    assert sizes_obey(others[there], environment.pickable.name)
    if column:
        assert sizes_obey(scenes.objects[:, 0], environment.container.name)


@kinds
def test_fresh_scenes_depend_on_no_default_type_and_on_no_identity(name: str) -> None:
    """A type that went through a pipe is the same type."""
    features, kind = conditions(name)[-40:].repeat(3, 1), KINDS[name]
    expected = fresh_scenes(kind, features, generator(14))
    copied = pickle.loads(pickle.dumps(kind))
    assert copied == kind
    with default_dtype(torch.float64):
        assert equal(fresh_scenes(copied, features, generator(14)), expected)


@pickables
def test_the_container_is_within_reach_once_something_lies_in_it(name: str) -> None:
    # Robots that have just placed something, as in the second round of a task.
    features = conditions(name)[-40:].repeat(3, 1)
    scenes = fresh_scenes(KINDS[name], features, generator(11))
    left = scenes.present[:, columns(scenes)[0]].sum(1)
    later = left < scenes.environment.goals[0]
    gap = distance(scenes.robot[:, :2], scenes.objects[:, 0])
    assert later.any() and (gap[later] <= REACH).all()
    assert (gap[~later] > REACH).any()  # at the start it may be anywhere


def test_robots_too_far_from_every_cupboard_are_at_their_first_move() -> None:
    # From the middle no cupboard, at most 5 deep, is nearer than 5: nothing was placed yet.
    condition = torch.tensor([[10.0, 13.5, 0.7, 0.7, 0.3, 0.0, 10.0, 10.0, 0.0, 1.0]])
    scenes = fresh_scenes(KINDS["Cup"], condition.repeat(20, 1), generator(12))
    left = scenes.present[:, columns(scenes)[0]].sum(1)
    assert (left >= scenes.environment.goals[0]).all()


@pytest.mark.parametrize("name", [e.container.name for e in ENVIRONMENTS.values()])
def test_every_number_of_placed_goals_is_equally_likely(name: str) -> None:
    environment, n = environment_of(name), 400
    features = conditions(name)
    features = features[torch.arange(n) % len(features)]
    scenes = fresh_scenes(KINDS[name], features, generator(13))
    others = scenes.present[:, columns(scenes)[0]].sum(1)  # the one in the gripper apart
    high, left = environment.goals[1], np.arange(environment.goals[1])
    expected = sum(n / 2 / goals * (left < goals) for goals in environment.goals)
    counts = torch.bincount(others, minlength=high).numpy()
    assert stats.chisquare(counts, expected).pvalue > SURE


# ---- what is refused, and copies -----------------------------------------------------------------


def test_what_no_scene_can_be_drawn_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (0, -3):
        with pytest.raises(ValueError, match=f"n must be at least 1 scene, not {n}"):
            draw_scenes(ENVIRONMENTS["ball, bin"], n, generator(0))
    for shape in ((0, 10), (3, 9), (10,), (1, 1, 10)):
        with pytest.raises(ValueError, match="features must have shape"):
            fresh_scenes(KINDS["Ball"], torch.zeros(shape), generator(0))
    for bad, column in itertools.product((math.nan, math.inf, -math.inf), range(10)):
        features = torch.ones(2, 10)
        features[1, column] = bad
        with pytest.raises(ValueError, match="features must be finite"):
            fresh_scenes(KINDS["Bin"], features, generator(0))
    with pytest.raises(ValueError, match="object type must be one of Ball, .*, not 'ball'"):
        environment_of("ball")
    monkeypatch.setattr(module, "TRIES", 20)
    full = torch.tensor([[0.0, 0.0, 20.0, 20.0, 0.0, 0.0, 10.0, 10.0, 0.0, 0.0]])
    with pytest.raises(RuntimeError, match="1 scenes of ball, bin have no room for object"):
        fresh_scenes(KINDS["Ball"], full, generator(0))


def test_rows_are_copies() -> None:
    scenes = draw_scenes(ENVIRONMENTS["box, tray"], 3, generator(15))
    before, index = [part.clone() for part in parts(scenes)], torch.tensor([2, 0, 0])
    some = scenes.rows(index)
    assert len(some) == 3
    for own, was, copied in zip(parts(scenes), before, parts(some), strict=True):
        assert torch.equal(copied, was[index])
        copied.zero_()
        assert torch.equal(own, was)
