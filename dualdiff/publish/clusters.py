"""Where a sweep runs: in this process, or at a Dask scheduler."""

from __future__ import annotations

import json
import logging
import os
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
    workers: int | None = None, scheduler: str | None = None, scheduler_file: Path | None = None
) -> Iterator[Client]:
    """A Dask client, whose cluster ends with the block if it began with it.

    Parameters
    ----------
    workers : int, optional
        Points at a time on this computer (2, or 1 on a single core). The workers are threads here,
        since every point has a process of its own.
    scheduler : str, optional
        Address of a running scheduler, such as ``tcp://10.0.0.1:8786``; workers are its own.
    scheduler_file : Path, optional
        The file in which a running scheduler says where it is (its ``--scheduler-file``).

    Raises
    ------
    ValueError
        If more than one of them is given, or one is not allowed.
    ConnectionError
        If the scheduler does not answer.
    """
    if sum(given is not None for given in (workers, scheduler, scheduler_file)) > 1:
        raise ValueError("only one of workers, scheduler and scheduler_file may be given")
    if scheduler_file is not None:
        scheduler = _written_in(scheduler_file)
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        # We say ourselves what goes wrong; its log speaks of connections.
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        if scheduler is not None:
            _check_scheduler(scheduler)
            where: Any = scheduler
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


def _written_in(file: Path) -> str:
    """The address in the file of a scheduler."""
    try:
        return str(json.loads(file.read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"scheduler_file is {file}; it must be a file that a Dask scheduler has written: "
            f"{error!r}"
        ) from error


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
