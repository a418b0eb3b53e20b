"""Laws of the robot's scenes: what lies where, how it is drawn, and what is drawn anew."""

import math
import pickle
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import shapely
import torch
from conftest import default_dtype
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


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


# ---- the tables ----------------------------------------------------------------------------------


@kinds
def test_types_and_boxes_are_the_published_ones(name: str) -> None:
    _, _, ox, oy, goals = PUBLISHED[name]
    assert KINDS[name].name == name and KINDS[name].box == (ox, oy)
    environment = environment_of(name)
    assert environment.kind(name) is KINDS[name] and environment.goals == goals
    assert ENVIRONMENTS[environment.name] is environment


def test_there_are_ten_types_in_five_environments() -> None:
    assert list(TYPES) == sorted(PUBLISHED) and len(ENVIRONMENTS) == 5
    assert {k.part for k in KINDS.values() if k.name not in ("Cup", "Tray")} == {"all"}
    assert (KINDS["Cup"].part, KINDS["Tray"].part) == ("left edge", "ends")
    assert [e.name for e in ENVIRONMENTS.values() if e.at_wall] == ["cup, cupboard"]
    assert len(FEATURES) == 10 and len(set(FEATURES)) == 10


# ---- what lies where -----------------------------------------------------------------------------


@environments
def test_sizes_are_in_their_ranges(environment: Environment) -> None:
    scenes = drawn(environment.name)
    assert sizes_obey(scenes.objects[:, 0], environment.container.name)
    others = scenes.objects[:, 1:][scenes.present[:, 1:]]
    assert sizes_obey(others, environment.pickable.name)


@environments
def test_containers_lie_inside_and_cupboards_against_a_wall(environment: Environment) -> None:
    scenes = drawn(environment.name)
    assert scenes.present[:, 0].all() and container_lies_well(scenes)


@environments
def test_robots_stand_clear_of_the_container_and_the_goals(environment: Environment) -> None:
    scenes = drawn(environment.name)
    assert (robot_distances(scenes) > RADIUS - TOUCH).all()
    assert in_range(scenes.robot[:, :2], (0, SIDE))


@environments
def test_nothing_overlaps_but_obstacles_and_the_container(environment: Environment) -> None:
    scenes = drawn(environment.name)
    assert nothing_overlaps(scenes)
    found = polygons(scenes)
    on = gaps(found[:, :1], found[:, columns(scenes)[1]]) == 0
    assert 0 < on.mean() < 1  # obstacles may lie there, and do


@environments
def test_corners_lie_in_the_workspace_and_things_may_overhang(environment: Environment) -> None:
    scenes = drawn(environment.name)
    there = scenes.objects[scenes.present]
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


@environments
def test_equal_seeds_give_equal_scenes_and_others_do_not(environment: Environment) -> None:
    one, two, other = (draw_scenes(environment, 5, generator(s)) for s in (4, 4, 5))
    for name in ("objects", "present", "robot"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert not torch.equal(one.robot, other.robot)
    assert len(one) == 5 and one.objects.shape == (5, 1 + one.goals + 19, 5)
    assert one.robot.isfinite().all() and one.objects.isfinite().all()


@environments
def test_robots_look_everywhere_alike(environment: Environment) -> None:
    yaw = drawn(environment.name).robot[:, 2].numpy()
    assert stats.kstest(yaw, "uniform", (-math.pi, 2 * math.pi)).pvalue > SURE


@environments
def test_no_wall_of_the_workspace_is_special(environment: Environment) -> None:
    """Quarter turns about the middle keep the law, so places average to it and directions to 0."""
    scenes = drawn(environment.name)
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
        centre, last = self.container.centroid, self.obstacles[-1]
        return (
            centre.x,
            centre.y,
            self.container.area,
            self.robot.x,
            self.robot.y,
            self.container.distance(self.robot),
            self.goals[0].centroid.x,
            self.goals[-1].centroid.y,
            self.container.distance(self.goals[-1]),
            last.centroid.x,
            self.container.distance(last),
            self.robot.distance(shapely.union_all(self.obstacles)),
            self.goals[0].distance(shapely.union_all(self.obstacles)),
        )


def facts(scenes: Scenes) -> np.ndarray:
    """The same numbers as :meth:`Naive.facts`, of scenes at once."""
    found, robot = polygons(scenes), shapely.points(scenes.robot[:, :2].numpy())
    goals, obstacles = (found[:, part] for part in columns(scenes))
    last = [
        row[present][-1]
        for part in columns(scenes)
        for row, present in zip(found[:, part], scenes.present[:, part].numpy(), strict=True)
    ]
    last_goal, last_obstacle = np.array(last, dtype=object).reshape(2, -1)
    first, container = goals[:, 0], found[:, 0]
    middle = [shapely.centroid(s) for s in (container, first, last_goal, last_obstacle)]
    return np.stack(
        [
            shapely.get_x(middle[0]),
            shapely.get_y(middle[0]),
            shapely.area(container),
            shapely.get_x(robot),
            shapely.get_y(robot),
            gaps(container, robot),
            shapely.get_x(middle[1]),
            shapely.get_y(middle[2]),
            gaps(container, last_goal),
            shapely.get_x(middle[3]),
            gaps(container, last_obstacle),
            gaps(robot[:, None], obstacles).min(1),
            gaps(first[:, None], obstacles).min(1),
        ]
    )


@environments
def test_scenes_have_the_law_of_a_slow_drawer(environment: Environment) -> None:
    rng = np.random.default_rng(9)
    naive = np.array([Naive(environment, rng).facts() for _ in range(120)]).T
    ours = facts(drawn(environment.name))
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
    assert scenes.present[:, [0, column]].all() and len(scenes) == len(features)
    assert container_lies_well(scenes) and nothing_overlaps(scenes)
    assert (robot_distances(scenes) > RADIUS - TOUCH).all()
    goals, obstacles = (scenes.present[:, part].sum(1) for part in columns(scenes))
    assert set(obstacles.tolist()) == set(OBSTACLES)
    assert goals.max() <= environment.goals[1] - (column == 0)
    others = scenes.objects[:, 1 + (column == 1) :]
    there = scenes.present[:, 1 + (column == 1) :]
    assert sizes_obey(others[there], environment.pickable.name)
    if column:
        assert sizes_obey(scenes.objects[:, 0], environment.container.name)


@kinds
def test_fresh_scenes_do_not_depend_on_the_default_type(name: str) -> None:
    features, kind = conditions(name)[-40:].repeat(3, 1), KINDS[name]
    expected = fresh_scenes(kind, features, generator(14))
    with default_dtype(torch.float64):
        found = fresh_scenes(kind, features, generator(14))
    for part in ("objects", "present", "robot"):
        assert torch.equal(getattr(found, part), getattr(expected, part)), part


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


@kinds
def test_a_type_that_went_through_a_pipe_is_the_same_type(name: str) -> None:
    copied = pickle.loads(pickle.dumps(KINDS[name]))
    assert copied == KINDS[name]
    features = conditions(name)[:1]
    one, two = (fresh_scenes(kind, features, generator(14)) for kind in (KINDS[name], copied))
    assert torch.equal(one.objects, two.objects) and torch.equal(one.present, two.present)


# ---- what is refused, and copies -----------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -3])
def test_no_scenes_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n must be at least 1 scene, not {n}"):
        draw_scenes(ENVIRONMENTS["ball, bin"], n, generator(0))


@pytest.mark.parametrize("shape", [(0, 10), (3, 9), (10,), (1, 1, 10)])
def test_features_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features must have shape \[n >= 1, 10\], not \["):
        fresh_scenes(KINDS["Ball"], torch.zeros(shape), generator(0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", range(10))
def test_features_that_are_not_finite_are_refused(bad: float, column: int) -> None:
    features = torch.ones(2, 10)
    features[1, column] = bad
    with pytest.raises(ValueError, match="features must be finite; some are NaN or infinite"):
        fresh_scenes(KINDS["Bin"], features, generator(0))


def test_unknown_types_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="object type must be one of Ball, .*, not 'ball'"):
        environment_of("ball")


def test_a_scene_without_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 20)
    full = torch.tensor([[0.0, 0.0, 20.0, 20.0, 0.0, 0.0, 10.0, 10.0, 0.0, 0.0]])
    with pytest.raises(RuntimeError, match="1 scenes of ball, bin have no room for object"):
        fresh_scenes(KINDS["Ball"], full, generator(0))


def test_rows_are_copies() -> None:
    scenes = draw_scenes(ENVIRONMENTS["box, tray"], 3, generator(15))
    before = scenes.objects.clone(), scenes.present.clone(), scenes.robot.clone()
    some = scenes.rows(torch.tensor([2, 0, 0]))
    assert torch.equal(some.objects, before[0][[2, 0, 0]]) and len(some) == 3
    assert torch.equal(some.present, before[1][[2, 0, 0]])
    assert torch.equal(some.robot, before[2][[2, 0, 0]])
    some.objects.zero_(), some.present.zero_(), some.robot.zero_()
    assert torch.equal(scenes.objects, before[0]) and torch.equal(scenes.present, before[1])
    assert torch.equal(scenes.robot, before[2])
