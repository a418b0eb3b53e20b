"""Running the full-scale tables: each trial once, interrupted or extended as one likes."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm.auto import tqdm

from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.provenance import missing, revision
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trial import KEY, Trial
from dualdiff.experiments.workers import check_jobs, in_processes
from dualdiff.files import write
from dualdiff.results.committed import (
    FOLDER,
    as_written,
    check_part,
    some_of,
    sources_of,
    staleness,
    trial_hash,
)
from dualdiff.results.parts import PARTS, Part

SIZES = (
    *("conditions", "draws", "n_general", "general_epochs", "specialised_epochs"),
    *("tasks", "general_steps", "batch", "law_conditions", "budget"),
)
"""What of the size of a run its provenance says."""


Job = tuple[str, Trial]
"""A trial, and the part that asks for it."""


def _work(job: Job, store: Store, sources: dict[str, str]) -> pd.DataFrame:
    """The table of a trial, if its code is still what it was when the run began."""
    trial = job[1]
    now = sources_of([trial])
    if edited := missing(now, sources):
        raise RuntimeError(
            f"the source of {some_of(edited)} was edited during the run, so a result could be "
            "stored as another code's; start it again, finished configurations are kept"
        )
    return trial.table(store)


class _Progress:
    """A bar over the work of all trials; the time left is judged by what finished trials took.

    Their tables know how long they took, so trials that an earlier run finished help the
    estimate and do not spoil it.
    """

    def __init__(self, todo: list[Job], jobs: int, quiet: bool) -> None:
        total = sum(trial.cost for _, trial in todo)
        self.left, self.done, self.seconds, self.jobs = total, 0.0, 0.0, jobs
        self.bar = tqdm(total=total, disable=quiet, bar_format=BAR)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def part(self, name: str) -> None:
        """Say which part is at work."""
        self.bar.set_description_str(name)

    def finished(self, trial: Trial, table: pd.DataFrame) -> None:
        work = trial.cost
        self.left, self.done = self.left - work, self.done + work
        self.seconds += float(table["seconds"].iloc[0])
        seconds = round(self.seconds / self.done * max(self.left, 0) / self.jobs)
        self.bar.set_postfix_str(f"about {datetime.timedelta(seconds=seconds)} left", False)
        self.bar.update(work)


BAR = "{desc}: {percentage:3.0f} %|{bar}| {elapsed} so far{postfix}"


def _wanted(profile: str, parts: list[str]) -> dict[str, list[Trial]]:
    """The trials of every part, each part once."""
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, not {profile!r}")
    for part in parts:
        check_part(part)
    return {part: PARTS[part].trials(PROFILES[profile]) for part in parts}


def run(
    profile: str,
    parts: list[str],
    *,
    store: Store,
    output: Path = FOLDER,
    jobs: int = 1,
    quiet: bool = False,
    extend: bool = False,
) -> list[Path]:
    """Run parts of the results and write each as it finishes.

    Every trial is stored as soon as it is done, so an interrupted run goes on where it stopped:
    each job loses at most the trial it was at. Trials that ``output`` has already, made by the
    same code, are taken from there.

    Parameters
    ----------
    profile : str
    parts : list of str, names of :data:`PARTS`
    store : Store
    output : path
        Folder of ``PART.csv`` and its provenance ``PART.json``.
    jobs : int
        Configurations that run at a time; the numbers do not depend on it.
    quiet : bool
        No progress bar.
    extend : bool
        Take trials from ``output`` whose code was edited since, too: only what it lacks is
        computed. The table then says what was edited, until it is confirmed.

    Returns
    -------
    list of paths
        The tables, in the order of ``parts``.

    Raises
    ------
    ValueError
        For an unknown profile or part, or fewer jobs than 1.
    RuntimeError
        If the code that makes the tables is edited meanwhile.
    """
    check_jobs(jobs)
    wanted = _wanted(profile, parts)
    sources = sources_of([trial for some in wanted.values() for trial in some])
    kept = {part: _kept(part, some, output, extend) for part, some in wanted.items()}
    tables = {part: dict(old.lines) for part, old in kept.items()}
    todo = [(p, t) for p, some in wanted.items() for t in some if t.key not in tables[p]]
    work = partial(_work, store=store, sources=sources)
    with _Progress(todo, jobs, quiet) as progress:
        for part, some in wanted.items():
            if tables[part] and not quiet:
                progress.bar.write(f"{part}: {len(tables[part])} of {len(some)} trials are there")
        progress.part(next(iter(p for p, _ in todo), "nothing to do"))
        for (part, trial), table in in_processes(work, todo, jobs):
            tables[part][trial.key] = _lines(trial, table)
            kept[part].seconds.append(float(table["seconds"].iloc[0]))
            progress.finished(trial, table)
            if len(tables[part]) == len(wanted[part]):
                _write(PARTS[part], wanted[part], tables.pop(part), profile, output, kept[part])
            progress.part(next((p for p, _ in todo if p in tables), "done"))
    for part, lines in tables.items():  # nothing was computed
        if any(reason.startswith("stale") for reason in staleness(part, output)):
            _write(PARTS[part], wanted[part], lines, profile, output, kept[part])
    return [output / f"{part}.csv" for part in wanted]


class Kept(NamedTuple):
    """Trials that a table has already, their rows as text; seconds of all work; its record.

    ``edited`` has what it says of definitions of these trials that were edited since.
    """

    lines: dict[tuple[Any, ...], str]
    seconds: list[float]
    record: dict[str, Any]
    edited: dict[str, str] = {}  # noqa: RUF012


def _kept(part: str, some: list[Trial], output: Path, extend: bool) -> Kept:
    try:
        table, record = as_written(part, output)
        text = (output / f"{part}.csv").read_text("utf-8").splitlines()
    except (FileNotFoundError, ValueError):
        return Kept({}, [], {})
    keys = [*table[KEY].itertuples(index=False, name=None)]
    hashes = dict(zip(dict.fromkeys(keys), record.get("hashes", "").split(), strict=False))
    known = record.get("confirmed", record)["sources"]
    lines: dict[tuple[Any, ...], str] = {}
    edited: dict[str, str] = {}
    for trial in some:
        key, now = trial.key, sources_of([trial])
        changed = missing(now, known)
        same = not changed and record["versions"]["torch"] == versions()["torch"]
        if hashes.get(key) == trial_hash(trial) and (same or extend):
            own = [line for line, of in zip(text[1:], keys, strict=True) if of == key]
            lines[key] = "\n".join([text[0], *own, ""])
            edited |= {name: known.get(name, "") for name in changed}
    return Kept(lines, [record["seconds"]] if lines else [], record if lines else {}, edited)


def _lines(trial: Trial, table: pd.DataFrame) -> str:
    """The rows of a trial as they stand in a table, under the line that names the columns."""
    own = table.drop(columns=["profile", "seconds"])
    own.insert(2, "n_specialised", trial.profile.n_specialised)
    own.insert(3, "finetune_epochs", trial.profile.finetune_epochs)
    return str(own.to_csv(index=False, float_format="%.7g", lineterminator="\n"))


def _write(
    part: Part,
    some: list[Trial],
    lines: dict[tuple[Any, ...], str],
    profile: str,
    output: Path,
    kept: Kept,
) -> None:
    """The table in the order of its trials, and what it was made from."""
    header = min(lines.values()).splitlines(keepends=True)[0]
    sources = {**sources_of(some), **kept.edited}
    data = (header + "".join(lines[t.key].removeprefix(header) for t in some)).encode()
    record = {
        "part": part.name,
        "title": part.title,
        "command": f"dualdiff results --profile {profile} {part.name}",
        "profile": profile,
        **{name: value for name, value in vars(some[0].profile).items() if name in SIZES},
        "seeds": sorted({trial.seed for trial in some}),
        "trials": len(some),
        "recipes": {trial.recipe_name: trial.config()["recipe"] for trial in some},
        "hashes": " ".join(map(trial_hash, some)),
        "sources": sources,
        "versions": {
            "python": platform.python_version(),
            **versions(),
            **{name: version(name) for name in ("numpy", "pandas")},
        },
        "revision": revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(sum(kept.seconds)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if before := kept.record.get("confirmed"):
        record["confirmed"] = {**before, "sources": sources}
    output.mkdir(parents=True, exist_ok=True)
    write(output / f"{part.name}.csv", data)
    write(output / f"{part.name}.json", (json.dumps(record, indent=2) + "\n").encode())
