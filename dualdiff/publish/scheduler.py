"""Where a sweep runs if not here: at the workers of a Dask scheduler."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 5
"""Seconds that a scheduler has to answer."""


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """A client of a running scheduler, whose workers are its own.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ValueError
        If it is no such address.
    ConnectionError
        If the scheduler does not answer.
    """
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    _check(address)
    # We say ourselves what goes wrong; its log speaks of connections.
    with silence_logging_cmgr(logging.CRITICAL):
        try:
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except OSError as error:
            raise ConnectionError(f"what answers at {address} is no Dask scheduler") from error
        with client:
            yield client


def written_in(file: Path) -> str:
    """The address in the file of a scheduler (its ``--scheduler-file``).

    Raises
    ------
    ValueError
        If there is none.
    """
    try:
        return str(json.loads(file.read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"scheduler_file is {file}; it must be a file that a Dask scheduler has written: "
            f"{error!r}"
        ) from error


def _check(address: str) -> None:
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
