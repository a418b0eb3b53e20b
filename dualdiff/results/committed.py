"""The full-scale tables of the book, as they are committed: read, and checked against the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.provenance import PROJECT, definitions_of
from dualdiff.experiments.trial import KEY, Trial, derive
from dualdiff.results.parts import PARTS

FOLDER = PROJECT / "book" / "results"


def check_part(name: str) -> None:
    if name not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {name!r}")


def sources_of(some: Iterable[Trial]) -> dict[str, str]:
    """Hash of every definition that decides what the trials give."""
    return definitions_of(*dict.fromkeys(root for trial in some for root in trial.roots))


def trial_hash(trial: Trial) -> str:
    """What a trial is made of, as 12 hexadecimal digits of a SHA-256."""
    text = json.dumps(trial.config(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def some_of(names: Iterable[str], most: int = 3) -> str:
    found = sorted(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def there(folder: Path = FOLDER) -> list[str]:
    """The parts that have been run."""
    return [name for name in PARTS if (folder / f"{name}.csv").is_file()]


def load(part: str, folder: Path = FOLDER) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A committed table as readers see it (:func:`derive`), and its provenance.

    Raises as :func:`as_written` does.
    """
    table, record = as_written(part, folder)
    return derive(table), record


def as_written(part: str, folder: Path = FOLDER) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A committed table, in the columns and names of its file, and its provenance.

    Raises
    ------
    ValueError
        If there is no such part.
        Or if the table is not the one that its provenance was written for.
    FileNotFoundError
        If the part has not been run.
    """
    data, record = _read(part, folder)
    if not _is_of(data, record):
        raise ValueError(
            f"{folder / part}.csv is not the table that {part}.json was written for; restore both, "
            f"or make them with: dualdiff results --profile full {part}"
        )
    return pd.read_csv(BytesIO(data)), record


def _read(part: str, folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The CSV file and its provenance; either is missing: FileNotFoundError."""
    check_part(part)
    path = folder / f"{part}.csv"
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise FileNotFoundError(
                f"{needed} is not there; make it with: dualdiff results --profile full {part}"
            )
    # Git may have given the file another system's line ends.
    data = path.read_bytes().replace(b"\r\n", b"\n")
    return data, json.loads(path.with_suffix(".json").read_text())


def _is_of(data: bytes, record: dict[str, Any]) -> bool:
    return hashlib.sha256(data).hexdigest() == record.get("sha256")


def staleness(part: str, folder: Path = FOLDER) -> list[str]:
    """Why a committed table may differ from what the code would make now; empty: it is current.

    A reason that begins with ``stale`` means that something else would be computed; one that
    begins with ``changed`` names definitions edited since, whose effect only a rerun shows.
    """
    data, record = _read(part, folder)
    if not _is_of(data, record):
        return ["stale: the table is not the one that its provenance was written for"]
    table = pd.read_csv(BytesIO(data))
    some = PARTS[part].trials(PROFILES[record["profile"]])
    reasons = []
    keys = dict.fromkeys(table[KEY].itertuples(index=False, name=None))
    known = dict(zip(keys, record["hashes"].split(), strict=True))
    now = {t.key: trial_hash(t) for t in some}
    if other := known.items() ^ now.items():
        names = {" ".join(map(str, key)) for key, _ in other}
        reasons.append(f"stale: {len(names)} trials differ, such as {min(names)}")
    code = sources_of(some)
    edited = [n for n in {*code, *record["sources"]} if code.get(n) != record["sources"].get(n)]
    if edited and record.get("confirmed", {}).get("sources") != code:
        reasons.append(f"changed since: {some_of(edited)}")
    return reasons


class Together(NamedTuple):
    """Several committed tables as one, what their provenance has in common, and their state.

    ``record["date"]`` names all dates.
    """

    table: pd.DataFrame
    record: dict[str, Any]
    state: str


def together(*parts: str, folder: Path = FOLDER) -> Together:
    """The tables of several parts of one study, such as one per recipe.

    Raises
    ------
    FileNotFoundError
        If one of them has not been run.
    ValueError
        If they are of different sizes.
    """
    found = [load(part, folder) for part in parts]
    records = [record for _, record in found]
    for name in ("profile", "conditions", "draws", "seeds"):
        if any(record[name] != records[0][name] for record in records):
            said = ", ".join(f"{record['part']} {record[name]}" for record in records)
            raise ValueError(f"{name} differ, so these tables are not of one study: {said}")
    dates = " and ".join(sorted({record["date"] for record in records}))
    states = {part: describe(part, folder)[1] for part in parts}
    distinct = set(states.values())
    each = ", ".join(f"{part} {state}" for part, state in states.items())
    state = each if len(distinct) > 1 else distinct.pop()
    table = pd.concat([table for table, _ in found], ignore_index=True)
    return Together(table, {**records[0], "date": dates}, state)


def changed_sentence(parts: Iterable[str], folder: Path = FOLDER) -> str:
    """Which of these tables the present code has not made, in words; empty: none."""
    old = [p for p in PARTS if p in set(parts) and describe(p, folder)[1].startswith("changed")]
    if not old:
        return ""
    return (
        f"Not made by the present code: {', '.join(f'`{part}`' for part in old)}. Sources were "
        "edited after these tables were written; by their configuration the same would be "
        "computed, but that the numbers come out the same has not been shown."
    )


def describe(part: str, folder: Path = FOLDER) -> tuple[str, str]:
    """A part's title, and its state: ``current``, ``not run``, or why it may be out of date.

    Raises
    ------
    ValueError
        If there is no such part.
    """
    try:
        state = "; ".join(staleness(part, folder)) or "current"
        confirmed = _read(part, folder)[1].get("confirmed")
        if state == "current" and confirmed:
            state += f" ({_confirmed(**confirmed)})"
    except FileNotFoundError:
        state = "not run"
    return PARTS[part].title, state


def _confirmed(
    trials: int, date: str, p: float | None = None, share: float = 0.0, **_: object
) -> str:
    """What a confirmation saw."""
    some = f"{trials} trial{'s' * (trials > 1)}"
    if p is not None:
        return f"{some} with new seeds, {date}, within the spread over seeds, p = {p:.2g}"
    closely = f"to {share:.1g} of the half-widths" if share else "bit for bit"
    return f"{some} computed anew on {date} agree{'s' * (trials == 1)} {closely}"
