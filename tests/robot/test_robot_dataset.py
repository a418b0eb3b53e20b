"""The robot's rows: the same however they are made, in range, in every frame, split by task."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from robot_sizes import no_work
from torch import Tensor

from dualdiff.experiments.store import Store
from dualdiff.robot import dataset
from dualdiff.robot.dataset import (
    COLUMNS,
    FRAMES,
    OFFSETS,
    PLACES,
    Chunk,
    Split,
    chunks,
    decode,
    encode,
    features_of,
    from_world,
    generate,
    offsets_of,
    split,
)
from dualdiff.robot.kinds import ENVIRONMENTS, FEATURES, KINDS, REACH, SIDE, TYPES, environment_of
from dualdiff.robot.tasks import position
from dualdiff.robot.world import centres, distance

BALL = TYPES.index("Ball")
ROUNDING = 2.0**-23
"""Of one float32 number, relative to it."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return generate(60, 5, store=Store(tmp_path_factory.mktemp("rows")))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """More than 442 rows of Ball, and another environment beside them."""
    names = ["ball, bin", "book, shelf"]
    return generate(150, 6, store=Store(tmp_path_factory.mktemp("rows")), environments=names)


# --- generation ---------------------------------------------------------------------------------


def test_another_table_of_environments_makes_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are numbered over all environments, so one of the reader's own changes every key."""
    chunk, name = Chunk("ball, bin", 0, 2, 0), "ball, bin"
    before = chunk.config()
    assert chunk.config() == before
    monkeypatch.setitem(ENVIRONMENTS, "mine", replace(ENVIRONMENTS[name], name="mine"))
    added = chunk.config()
    monkeypatch.setitem(ENVIRONMENTS, name, replace(ENVIRONMENTS[name], goals=(1, 2)))
    assert before != added != chunk.config() != before


def test_rows_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["cup, cupboard", "ball, bin"]  # a chunk each
    one = generate(6, 1, store=Store(tmp_path / "one"), environments=names)
    two = generate(6, 1, store=Store(tmp_path / "two"), environments=names, jobs=2)
    assert_frame_equal(one, two)
    other = generate(6, 2, store=Store(tmp_path / "two"), environments=names)
    assert not set(one["obj_w"]) & set(other["obj_w"])  # another seed
    monkeypatch.setattr(Chunk, "_make", no_work)
    for jobs in (1, 2):  # the workers left nothing to make
        stored = generate(6, 1, store=Store(tmp_path / "two"), environments=names, jobs=jobs)
        assert_frame_equal(stored, one)


def test_an_interrupted_generation_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 4)
    names = ["stick, basket", "ball, bin"]
    whole = generate(10, 1, store=Store(tmp_path / "whole"), environments=names)
    make, made, limit = Chunk._make, [], 2

    def counted(chunk: Chunk) -> pd.DataFrame:
        if len(made) == limit:
            raise KeyboardInterrupt
        made.append(chunk)
        return make(chunk)

    monkeypatch.setattr(Chunk, "_make", counted)
    store = Store(tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        generate(10, 1, store=store, environments=names)
    limit = 10
    assert_frame_equal(generate(10, 1, store=store, environments=names), whole)
    assert made == chunks(10, 1, names) and len(made) == 6  # each once, over both runs


def test_every_chunk_and_environment_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 4)
    names = list(ENVIRONMENTS)[:2]
    both = generate(9, 2, store=Store(tmp_path / "both"), environments=names)
    balls = both[both["type"] == BALL]  # no two chunks share their random numbers
    assert len(balls) > 40 and balls["obj_x"].is_unique and balls["ox"].is_unique
    for i, name in enumerate(names):
        alone = generate(9, 2, store=Store(tmp_path / "alone"), environments=[name])
        assert_frame_equal(both[both["task"] % 5 == i].reset_index(drop=True), alone)
    fewer = generate(8, 2, store=Store(tmp_path / "fewer"), environments=names[:1])
    first = both[(both["task"] % 5 == 0) & (both["task"] // 5 < 8)]
    assert_frame_equal(first.reset_index(drop=True), fewer)


@given(st.integers(1, 9_000), st.sets(st.sampled_from(list(ENVIRONMENTS)), min_size=1))
def test_chunks_hold_every_task_of_every_environment_once(tasks: int, names: set[str]) -> None:
    found = chunks(tasks, 7, names)
    for name in names:
        own = [c for c in found if c.environment == name]
        covered = [task for c in own for task in range(c.first, c.first + c.n)]
        assert covered == list(range(tasks))
    assert {c.environment for c in found} == names
    assert all(1 <= c.n <= dataset.CHUNK and c.seed == 7 for c in found)


def test_generation_refuses_what_it_cannot_make(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for tasks in (0, -3):
        with pytest.raises(ValueError, match=f"tasks must be at least 1, not {tasks}"):
            generate(tasks, 0, store=store)
    with pytest.raises(ValueError, match=r"environment must be one of ball, bin; .*not 'kitchen'"):
        generate(1, 0, store=store, environments=["ball, bin", "kitchen"])
    with pytest.raises(ValueError, match="jobs must be at least 1, not 0"):
        generate(1, 0, store=store, environments=["ball, bin"], jobs=0)
    assert not list(tmp_path.iterdir())


# --- what the rows hold -------------------------------------------------------------------------


def test_columns_and_their_types(rows: pd.DataFrame) -> None:
    assert tuple(rows.columns) == COLUMNS == (*FEATURES, *OFFSETS, *PLACES, *COLUMNS[14:])
    assert (rows.dtypes.iloc[:14] == np.float32).all()
    assert list(rows.dtypes.iloc[14:]) == [np.int8, np.int32, np.int8, np.int32]
    assert list(rows.index) == list(range(len(rows)))
    assert not rows.isna().any(axis=None)


def test_tasks_have_numbers_of_their_own(rows: pd.DataFrame) -> None:
    for place, environment in enumerate(ENVIRONMENTS.values()):
        own = rows[rows["task"] % len(ENVIRONMENTS) == place]
        kinds = {environment.pickable.name, environment.container.name}
        assert {TYPES[i] for i in own["type"].unique()} == kinds
        assert own["task"].between(place, 5 * 60).all() and own["task"].is_monotonic_increasing
        low, high = environment.goals
        assert own["goals"].between(low, high).all()
    assert (rows.groupby("task")["goals"].nunique() == 1).all()


def test_rows_of_a_task_are_in_the_order_of_its_moves(rows: pd.DataFrame) -> None:
    """Pickable, container, pickable, ...; every move begins where the one before ended."""
    for _, task in rows.groupby("task"):
        assert (task["gripper_free"].to_numpy() == 1 - np.arange(len(task)) % 2).all()
        assert (task["robot_x"].to_numpy()[1:] == task["x"].to_numpy()[:-1]).all()
        assert (task["robot_y"].to_numpy()[1:] == task["y"].to_numpy()[:-1]).all()
        assert len(task) <= 2 * task["goals"].iloc[0]


@pytest.mark.parametrize("name", TYPES)
def test_rows_are_in_the_ranges_of_their_type(rows: pd.DataFrame, name: str) -> None:
    kind, own = KINDS[name], rows[rows["type"] == TYPES.index(name)]
    assert len(own) > 60
    assert own["obj_w"].between(*kind.width).all()
    if kind.height is None:
        assert (own["obj_h"] == own["obj_w"]).all()
    else:
        assert own["obj_h"].between(*kind.height).all()
        assert own["obj_h"].nunique() > 1
    assert own[["obj_x", "obj_y", "robot_x", "robot_y", "x", "y"]].stack().between(0, SIDE).all()
    angle = float(np.float32(math.pi))
    assert own[["obj_yaw", "robot_yaw"]].stack().between(-angle, angle).all()
    assert (own["held"] == 0).all()
    assert (own["gripper_free"] == float(kind is environment_of(name).pickable)).all()
    for column, box in zip(OFFSETS, kind.box, strict=True):
        assert own[column].between(*box).all()
    assert (own["draws"] >= 1).all()


def test_the_place_is_that_of_the_offsets_clipped(rows: pd.DataFrame) -> None:
    """Both are rounded from one float64 place, so they differ by the rounding of the numbers.

    The offset, the side and the corner move it by their rounding, the yaw by its own times the
    distance from the corner (at most 9 * 13 and 9 * 6: 130).
    """
    features, offsets = features_of(rows).double(), offsets_of(rows).double()
    clipped = position(offsets, features[:, :5]).clamp(0, SIDE).numpy()
    bound = ROUNDING * (130 * math.pi + 2 * 130 + 2 * SIDE)
    assert np.abs(clipped - rows[[*PLACES]].to_numpy()).max() < bound
    assert (rows[[*PLACES]].isin([0.0, SIDE])).any(axis=None)  # some are clipped


def test_targets_are_where_the_arm_reaches_and_the_disc_does_not_touch(rows: pd.DataFrame) -> None:
    places = torch.from_numpy(rows[[*PLACES]].to_numpy(np.float64, copy=True))
    gap = distance(places, features_of(rows)[:, :5].double())
    slack = ROUNDING * (20 * math.pi + 4 * SIDE)
    assert float(gap.min()) > 2 - slack and float(gap.max()) < REACH + slack


def test_features_and_offsets_are_copies_of_their_columns(rows: pd.DataFrame) -> None:
    before = rows.copy()
    features, offsets = features_of(rows), offsets_of(rows)
    assert features.dtype == offsets.dtype == torch.float32
    assert np.array_equal(features.numpy(), rows[[*FEATURES]].to_numpy())
    assert np.array_equal(offsets.numpy(), rows[[*OFFSETS]].to_numpy())
    features.zero_(), offsets.zero_()
    assert_frame_equal(rows, before)


# --- frames -------------------------------------------------------------------------------------

place = st.floats(0, SIDE)
side = st.floats(0.25, 13)
angles = st.floats(-math.pi, math.pi)
conditions = st.tuples(place, place, side, side, angles)
offsets_drawn = st.lists(st.tuples(st.floats(-8, 9), st.floats(-8, 9)), min_size=2, max_size=4)


def moves(rectangle: tuple[float, ...], offsets: list[tuple[float, float]]) -> tuple[Tensor, ...]:
    """One object's features for several targets, ``[n, 10]`` and ``[n, 2]``, float64."""
    features = torch.tensor([[*rectangle, 0, 3.0, 4.0, 0.5, 1]], dtype=torch.float64)
    return features.expand(len(offsets), -1), torch.tensor(offsets, dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> bool:
    """Equal up to the rounding of coordinates below 200, divided by sides of 0.25 at least."""
    return torch.allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("frame", FRAMES)
@given(rectangle=conditions, offsets=offsets_drawn)
def test_decoding_gives_back_what_was_encoded(
    frame: str, rectangle: tuple[float, ...], offsets: list[tuple[float, float]]
) -> None:
    features, some = moves(rectangle, offsets)
    world = position(some, features[:, :5])
    targets = encode(frame, features, some)
    back = decode(frame, features, targets)
    assert close(back, world.clamp(0, SIDE) if frame == "world" else world)
    assert close(from_world(frame, features, back), targets)
    assert close(decode(frame, features, from_world(frame, features, world)), world)
    if frame != "world":
        assert close(from_world(frame, features, world), targets)
    one = decode(frame, features[:1, None], targets[None])  # several targets of one condition
    assert one.shape == (1, len(offsets), 2) and torch.equal(one[0], back)


@given(rectangle=conditions, offsets=offsets_drawn)
def test_the_metric_frame_keeps_distances_and_starts_in_the_centre(
    rectangle: tuple[float, ...], offsets: list[tuple[float, float]]
) -> None:
    features, some = moves(rectangle, offsets)
    targets = encode("metric", features, some)
    world = position(some, features[:, :5])
    assert close(torch.cdist(targets, targets), torch.cdist(world, world))
    middle = centres(features[:, :5])
    assert close(targets.norm(dim=1), (world - middle).norm(dim=1))
    assert close(encode("metric", features, torch.full_like(some, 0.5)), torch.zeros_like(some))
    assert close(decode("metric", features, torch.zeros_like(some)), middle)


@given(rectangle=conditions, offsets=offsets_drawn)
def test_the_object_frame_is_the_simulators_and_the_worlds_is_clipped(
    rectangle: tuple[float, ...], offsets: list[tuple[float, float]]
) -> None:
    features, some = moves(rectangle, offsets)
    assert torch.equal(encode("object", features, some), some)
    clipped = encode("world", features, some)
    assert ((clipped >= 0) & (clipped <= SIDE)).all()
    assert torch.equal(decode("world", features, clipped), clipped)


def test_offsets_of_the_corners_are_the_corners() -> None:
    """By hand: a 2 x 4 rectangle at (10, 10), turned by a quarter."""
    features, offsets = moves((10, 10, 2, 4, math.pi / 2), [(0, 0), (1, 0), (0, 1), (1, 1)])
    corners = torch.tensor([[10, 10], [10, 12], [6, 10], [6, 12]], dtype=torch.float64)
    assert close(decode("object", features, offsets), corners)
    metric = torch.tensor([[-1, -2], [1, -2], [-1, 2], [1, 2]], dtype=torch.float64)
    assert close(encode("metric", features, offsets), metric)
    assert close(from_world("metric", features, corners), metric)


def test_unknown_frames_are_refused() -> None:
    features, offsets = moves((1, 1, 1, 1, 0), [(0, 0)])
    for change in (encode, decode, from_world):
        with pytest.raises(ValueError, match="frame must be one of .*, not 'polar'"):
            change("polar", features, offsets)


# --- splits -------------------------------------------------------------------------------------


def tasks_of(rows: pd.DataFrame) -> set[int]:
    return set(rows["task"])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("n_test", [1, 8, 100, 351])
def test_sets_are_of_whole_tasks_and_share_none(many: pd.DataFrame, seed: int, n_test: int) -> None:
    made = split(many, seed, n_specialised=442, n_test=n_test)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not tasks_of(made[a]) & tasks_of(made[b])
    assert len(made.specialised) == 442
    assert set(made.specialised["type"]) == set(made.test["type"]) == {BALL}
    for part in made:
        pd.testing.assert_frame_equal(part, many.loc[part.index])
    # General: all rows, of any type, of its tasks.
    assert_frame_equal(made.general, many[many["task"].isin(tasks_of(made.general))])
    assert BALL in set(made.general["type"])
    # Only the surplus of the task that was drawn last is in no set: less than a task of Ball.
    balls = many[many["type"] == BALL]
    kept = sum(int((part["type"] == BALL).sum()) for part in made)
    whole = balls.groupby("task").size()
    assert 0 <= len(balls) - kept < whole.max()
    counts = made.specialised.groupby("task").size()
    assert (counts != whole[counts.index]).sum() <= 1
    # Test: the fewest whole tasks that suffice.
    test = made.test
    assert_frame_equal(test, balls[balls["task"].isin(tasks_of(test))])
    assert len(test) >= n_test > (test["task"] != test["task"].iloc[-1]).sum()


def test_the_seed_draws_the_specialised_tasks_and_not_the_test(many: pd.DataFrame) -> None:
    def made(seed: int, n: int = 100) -> Split:
        return split(many, seed, n_specialised=n, n_test=100)

    for a, b in zip(made(0), made(0), strict=True):
        assert_frame_equal(a, b)
    for other in (made(1), made(0, 300)):
        assert_frame_equal(other.test, made(0).test)
    assert tasks_of(made(1).specialised) != tasks_of(made(0).specialised)
    # Any task may be drawn. A quarter of them is at a time, so 60 draws miss one of 130 with a
    # probability below 130 * 0.75^60 = 4e-6.
    drawn = set().union(*(tasks_of(made(seed, 300).specialised) for seed in range(60)))
    assert drawn == tasks_of(many[many["type"] == BALL]) - tasks_of(made(0).test)


def test_more_rows_than_there_are_is_refused(many: pd.DataFrame) -> None:
    n = int((many["type"] == BALL).sum())
    for special, test in ((n, 1), (1, n), (n // 2 + 1, n // 2 + 1), (0, 5), (5, 0), (-1, 5)):
        sentence = f"together at most the {n} rows of Ball, not {special} and {test}"
        with pytest.raises(ValueError, match=sentence):
            split(many, 0, n_specialised=special, n_test=test)
    with pytest.raises(ValueError, match=r"n_specialised must be at most 0, the rows of Ball that"):
        split(many, 0, n_specialised=1, n_test=n - 1)
    left = n - len(split(many, 0, n_specialised=1, n_test=100).test)
    assert len(split(many, 0, n_specialised=left, n_test=100).specialised) == left
    with pytest.raises(ValueError, match=f"at most {left}, the rows of Ball"):
        split(many, 0, n_specialised=left + 1, n_test=100)
