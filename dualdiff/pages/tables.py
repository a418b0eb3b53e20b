"""Tables as a page shows them: with caption and file, from a committed run where there is one."""

from __future__ import annotations

import base64
import html
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from IPython.display import HTML, display

from dualdiff.results import committed as results


def show_table(frame: pd.DataFrame, caption: str, name: str = "") -> None:
    """Show a table with its caption and a link to its numbers as CSV.

    In the book it gets a number, and with a ``name`` an anchor ``table-NAME``.

    Parameters
    ----------
    frame : DataFrame
        Such as of :func:`dualdiff.pages.numbers.grid`; its cells are shown as they are.
    caption : str
        What to see in it, plain text.
    name : str
    """
    data = base64.b64encode(frame.to_csv().encode()).decode()
    link = f'<a download="{name or "table"}.csv" href="data:text/csv;base64,{data}">CSV</a>'
    anchor = f' id="table-{html.escape(name)}"' if name else ""
    body = frame.to_html(border=0, index_names=False)
    said = f"<figcaption>{html.escape(caption)} {link}</figcaption>"
    display(HTML(f'<figure class="numbers"{anchor}>{said}{body}</figure>'))


class Committed(NamedTuple):
    """A table, and in words where it comes from."""

    table: pd.DataFrame
    origin: str
    full: bool
    """Whether it is the committed one."""


def size_of(record: Mapping[str, Any]) -> str:
    """Seeds, conditions and draws of a committed table, in words."""
    seeds = ", ".join(map(str, record["seeds"]))
    return (
        f"training seed{'s' * (len(record['seeds']) > 1)} {seeds}, {record['conditions']:,} "
        f"conditions with {record['draws']} draws each"
    )


def committed(
    *parts: str, own: pd.DataFrame | None = None, folder: Path = results.FOLDER
) -> Committed:
    """The committed table of one or several parts where there is one, else this run's.

    Parameters
    ----------
    parts : str
        As ``dualdiff results --list`` names them.
    own : DataFrame, optional
        This run's table; by default an empty one.
    """
    command = f"`dualdiff results --profile full {' '.join(parts)}`"
    try:
        table, record, state = results.together(*parts, folder=folder)
    except FileNotFoundError:
        names = " and ".join(f"`{part}`" for part in parts)
        origin = f"The table {names} has not been made yet; {command} makes it."
        if own is None:
            return Committed(pd.DataFrame(), origin, False)
        return Committed(own, f"What follows is of **this run**. {origin}", False)
    origin = (
        f"What follows is the **committed** table of {record['date']} ({command}): "
        f"{size_of(record)}; state: {state}."
    )
    return Committed(table, origin, True)


def environment(**run: object) -> str:
    """Versions and parameters of a run, for the foot of a chapter."""
    packages = ("dualdiff", "torch", "numpy", "matplotlib")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    settings = ", ".join(f"{name}={value}" for name, value in run.items())
    return f"Python {platform.python_version()}, {versions}; {settings}"
