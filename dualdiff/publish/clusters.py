"""Where a sweep runs: in this process, at a Dask scheduler, or in the queue of a cluster."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 5
"""Seconds that a scheduler has to answer."""


@contextmanager
def connect(
    workers: int | None = None, scheduler: str | None = None, jobqueue: Path | None = None
) -> Iterator[Client]:
    """A Dask client, whose cluster ends with the block if it began with it.

    Parameters
    ----------
    workers : int, optional
        Points at a time on this computer (2, or 1 on a single core). The workers are threads here,
        since every point has a process of its own.
    scheduler : str, optional
        Address of a running scheduler, such as ``tcp://10.0.0.1:8786``; workers are its own.
    jobqueue : Path, optional
        YAML file for dask-jobqueue: ``cluster`` names the class, ``jobs`` how many jobs to submit,
        the rest goes to the class.

    Raises
    ------
    ValueError
        If more than one of them is given, or one is not allowed.
    ConnectionError
        If the scheduler does not answer.
    """
    if sum(given is not None for given in (workers, scheduler, jobqueue)) > 1:
        raise ValueError("only one of workers, scheduler and jobqueue may be given")
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        # We say ourselves what goes wrong; its log speaks of connections.
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        if scheduler is not None:
            _check_scheduler(scheduler)
            where: Any = scheduler
        elif jobqueue is not None:
            where = stack.enter_context(_jobqueue(jobqueue))
        else:
            count = min(2, os.cpu_count() or 1) if workers is None else workers
            if count < 1:
                raise ValueError(f"workers is {count}; it must be at least 1")
            local = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=False,
                protocol="inproc://",
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            where = stack.enter_context(local)
        try:
            client = Client(where, timeout=PATIENCE, set_as_default=False)
        except OSError as error:
            raise ConnectionError(f"what answers at {where} is no Dask scheduler") from error
        yield stack.enter_context(client)


def _check_scheduler(address: str) -> None:
    """Refuse an address where nothing answers, before Dask begins to wait for it."""
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("tcp", "tls") or not parts.hostname or not parts.port:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"scheduler is {address!r}; it must be like tcp://host:8786 (or tls://)"
        ) from None
    try:
        socket.create_connection((parts.hostname, parts.port), PATIENCE).close()
    except OSError as error:
        raise ConnectionError(f"no scheduler answers at {address}: {error}") from error


def _jobqueue(file: Path) -> Any:
    """The cluster that a file describes, its jobs submitted."""
    from dualdiff.publish.grid import read_yaml

    try:
        import dask_jobqueue
    except ImportError as error:
        raise ValueError(
            "jobqueue needs dask-jobqueue; install it with: pip install 'dualdiff[cluster]'"
        ) from error
    spec = read_yaml(file)
    known = {kind.__name__: kind for kind in _kinds(dask_jobqueue.core.JobQueueCluster)}
    spec = spec if isinstance(spec, dict) else {}
    name, jobs = spec.pop("cluster", None), spec.pop("jobs", 1)
    if name not in known:
        raise ValueError(f"{file}: cluster is {name!r}; it must be one of {', '.join(known)}")
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise ValueError(f"{file}: jobs is {jobs!r}; it must be an integer from 1")
    command = known[name].job_cls.submit_command
    if command and not shutil.which(command):
        raise ValueError(f"{file}: {name} needs the command {command}, which is not here")
    try:
        cluster = known[name](**spec)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error
    cluster.scale(jobs=jobs)
    return cluster


def _kinds(base: Any) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)
