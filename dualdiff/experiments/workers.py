"""Work spread over processes: the same results for any number of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def _start_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes below 1."""
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")


def in_processes(work: Callable[[T], R], todo: list[T], jobs: int) -> Iterator[tuple[T, R]]:
    """Every item with what ``work`` makes of it, in the order in which they finish.

    With one job the work is done here; with more, in fresh processes, which share the threads, so
    ``work`` has to be a function of a module. An error or an interruption ends them all.

    Raises
    ------
    ValueError
        For fewer jobs than 1.
    """
    check_jobs(jobs)
    if jobs == 1:
        for item in todo:
            yield item, work(item)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, context, _start_worker, (threads,)) as pool:
        try:
            futures = {pool.submit(work, item): item for item in todo}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
