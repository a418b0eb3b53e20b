"""All committed tables as one archive, with what their columns mean and where they are from."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dualdiff import __version__
from dualdiff.files import write
from dualdiff.results.committed import FOLDER, as_written, describe

README = Path(__file__).with_suffix(".md")
Meaning = Callable[[str], tuple[str, str, bool | None]]
"""Label and unit of a metric, and whether less is better, where a page says so."""


def archive(parts: Iterable[str], meaning: Meaning, folder: Path = FOLDER) -> bytes:
    """A ZIP archive of tables, their provenance and a README; the same bytes for the same tables.

    Raises
    ------
    FileNotFoundError, ValueError
        If one has not been run, or is not the one that its provenance was written for.
    """
    files, tables, metrics = dict[str, str](), list[str](), set[str]()
    for name in parts:
        table, record = as_written(name, folder)
        for path in (folder / f"{name}.csv", folder / f"{name}.json"):
            files[path.name] = path.read_text("utf-8")
        tables.append(_row(*_about(name, table, record), describe(name, folder)[1]))
        metrics |= {re.sub(r" at \d+$", " at T", metric) for metric in table["metric"]}
    known = {metric: meaning(metric) for metric in sorted(metrics)}
    words = {True: "yes", False: "no", None: ""}
    rows = [
        _row(f"`{name}`", label, unit, words[less]) for name, (label, unit, less) in known.items()
    ]
    said = {"metrics": "\n".join(rows), "tables": "\n".join(tables), "version": __version__}
    files["README.md"] = README.read_text("utf-8").format(**said)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in sorted(files.items()):
            opened.writestr(zipfile.ZipInfo(f"dualdiff-results/{name}"), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _about(name: str, table: pd.DataFrame, record: Mapping[str, Any]) -> tuple[str, ...]:
    seeds = json.dumps(record["seeds"]).strip("[]")
    said = (record["profile"], seeds, record["date"], record["revision"])
    return (f"`{name}`", record["title"], f"{len(table)}", *said)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def export(file: Path, data: bytes, *, force: bool = False) -> None:
    """Write an archive, whole or not at all; one that is there already stays as it is.

    Raises
    ------
    ValueError
        If there is another file of that name, unless that may be written over.
    """
    if file.exists() and file.read_bytes() == data:
        return
    if file.exists() and not force:
        raise ValueError(f"export is {file}, which is another file; --force writes over it")
    write(file, data)
