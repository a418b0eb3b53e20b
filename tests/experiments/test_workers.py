"""Work in processes: the results do not depend on how many, and an error ends them all."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
import torch

from dualdiff.experiments.workers import in_processes


def square(x: int) -> int:
    return x * x


def squared_where(x: int) -> tuple[int, int, int]:
    return x * x, os.getpid(), torch.get_num_threads()


def refuse_three(x: int) -> int:
    assert x < 4
    if x == 3:
        raise ValueError("3 is refused")
    return x


Item = tuple[str, Path, bool]


def quick_or_slow(item: Item) -> str:
    """The slow one says that it has begun, and would say that it finished; the other waits."""
    name, folder, fails = item
    if name == "slow":
        (folder / "begun").touch()
        time.sleep(45)
        (folder / "finished").touch()
        return name
    while not (folder / "begun").exists():
        time.sleep(0.02)
    if fails:
        raise RuntimeError("the quick one failed")
    return name


def wait_for_the_end() -> None:
    """Workers that nobody ended would let the slow one finish."""
    while multiprocessing.active_children():
        time.sleep(0.02)


def test_one_job_gives_every_items_result_in_order() -> None:
    todo = [5, 2, 9, 2, 7]
    assert list(in_processes(square, todo, 1)) == [(x, x * x) for x in todo]
    assert list(in_processes(square, [], 1)) == []


def test_two_jobs_give_the_same_results_from_elsewhere_and_share_the_threads() -> None:
    todo = [5, 2, 9, 2, 7]
    found = list(in_processes(squared_where, todo, 2))
    assert sorted((x, made[0]) for x, made in found) == sorted((x, x * x) for x in todo)
    assert os.getpid() not in {pid for _, (_, pid, _) in found}
    assert {threads for _, (*_, threads) in found} == {max(1, (os.cpu_count() or 1) // 2)}
    assert list(in_processes(square, [], 2)) == []


def test_one_job_works_here_and_only_when_asked() -> None:
    begun = []

    def work(x: int) -> int:  # a local function could not be sent anywhere
        begun.append(x)
        return os.getpid()

    results = in_processes(work, [1, 2, 3], 1)
    assert begun == []
    assert next(results) == (1, os.getpid()) and begun == [1]
    assert next(results) == (2, os.getpid()) and begun == [1, 2]


def test_an_error_in_the_work_is_raised_here_and_nothing_more_is_begun() -> None:
    seen = []
    with pytest.raises(ValueError, match="3 is refused"):
        for item, _ in in_processes(refuse_three, [1, 2, 3, 4], 1):
            seen.append(item)
    assert seen == [1, 2]


def test_an_error_ends_the_other_workers(tmp_path: Path) -> None:
    todo = [("quick", tmp_path, True), ("slow", tmp_path, False)]
    with pytest.raises(RuntimeError, match="the quick one failed"):
        list(in_processes(quick_or_slow, todo, 2))
    wait_for_the_end()
    assert (tmp_path / "begun").exists() and not (tmp_path / "finished").exists()


def test_leaving_the_results_unread_ends_the_workers(tmp_path: Path) -> None:
    todo = [("quick", tmp_path, False), ("slow", tmp_path, False)]
    results = in_processes(quick_or_slow, todo, 2)
    assert next(results)[1] == "quick"
    results.close()  # type: ignore[attr-defined]  # it is a generator
    wait_for_the_end()
    assert (tmp_path / "begun").exists() and not (tmp_path / "finished").exists()


def test_an_error_leaves_other_processes_of_the_caller_alone() -> None:
    bystander = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    bystander.start()
    try:
        with pytest.raises(ValueError, match="3 is refused"):
            list(in_processes(refuse_three, [3], 2))
        bystander.join(1)
        assert bystander.exitcode is None, "a process that is none of the pool's was ended"
    finally:
        bystander.terminate()
        bystander.join()


@pytest.mark.parametrize("jobs", [0, -1])
def test_fewer_jobs_than_one_are_refused(jobs: int) -> None:
    with pytest.raises(ValueError, match=f"jobs must be at least 1, not {jobs}"):
        list(in_processes(square, [1], jobs))
