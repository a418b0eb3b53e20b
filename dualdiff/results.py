"""The full-scale tables of the book: run once, committed, and checked against the code."""

from __future__ import annotations

import datetime
import hashlib
import json
import multiprocessing
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from dualdiff import adaptation
from dualdiff.members import RECIPES, Recipe, code_version
from dualdiff.overlap import SETTINGS, shifted_table, sweep_trials, targets
from dualdiff.profiles import PROFILES, Profile
from dualdiff.scenarios import SCENARIOS, make_scenario
from dualdiff.store import Store, provenance, write
from dualdiff.study import MAKES_TABLES, Trial, trials

FOLDER = Path(__file__).resolve().parent.parent / "book" / "results"


@dataclass(frozen=True)
class Part:
    """A table of the book and what makes its trials at a profile."""

    name: str
    title: str
    make: Callable[[Profile], list[Trial]]

    def trials(self, profile: Profile) -> list[Trial]:
        """Its trials, each once.

        Raises
        ------
        ValueError
            If two different trials could not be told apart in the table.
        """
        distinct: dict[tuple[Any, ...], Trial] = {}
        for trial in self.make(profile):
            other = distinct.setdefault(_key(trial), trial)
            if other is not trial and other.config() != trial.config():
                raise ValueError(f"part {self.name} has two different trials {_key(trial)}")
        return list(distinct.values())


def _smaller(profile: Profile, conditions: int, seeds: int) -> Profile:
    """The profile with fewer conditions; several seeds only where it has several itself."""
    seeds = seeds if profile.seeds > 1 else 1
    return replace(profile, conditions=min(profile.conditions, conditions), seeds=seeds)


def _main(scenario: str) -> Callable[[Profile], list[Trial]]:
    return lambda profile: trials(make_scenario(scenario), [RECIPES["thesis"]], profile, 0)


def _tuned(scenario: str) -> Callable[[Profile], list[Trial]]:
    recipes = [RECIPES["tuned"]]
    return lambda profile: trials(make_scenario(scenario), recipes, _smaller(profile, 10_000, 5), 0)


def _overlap(profile: Profile) -> list[Trial]:
    size = _smaller(profile, 10_000, 5)
    worlds = [shifted_table(distance) for distance in SETTINGS.values()]
    found = [t for w in worlds for t in trials(w, [RECIPES["thesis"]], size, 0, targets(w))]
    return [t for t in found if t.configuration in ("general", "specialised", "joint")]


def _adaptation(profile: Profile) -> list[Trial]:
    studies = (adaptation.size_trials, adaptation.epoch_trials, adaptation.overlap_trials)
    return [trial for study in studies for trial in study(profile.name, 0)]


def variations() -> list[Recipe]:
    """Recipe ``thesis`` with one of its assumptions changed at a time, itself first."""
    base = RECIPES["thesis"]

    def network(name: str, **changes: Any) -> Recipe:
        return replace(base, name=name, architecture=replace(base.architecture, **changes))

    return [
        base,
        *(replace(base, name=f"T = {steps}", steps=steps) for steps in (50, 200, 1000)),
        *(network(f"width {width}", width=width) for width in (64, 256)),
        network("time t / T", time="scaled"),
    ]


def _sensitivity(profile: Profile) -> list[Trial]:
    size = _smaller(profile, 1_000, 3)
    worlds = [make_scenario(name) for name in SCENARIOS]
    return [t for r in variations() for w in worlds for t in trials(w, [r], size, 0)]


PARTS = {
    part.name: part
    for part in (
        Part("cabinet", "Table 4.1, recipe thesis", _main("cabinet")),
        Part("round_table", "Table 4.3, recipe thesis", _main("round_table")),
        Part("cabinet_tuned", "Table 4.1, recipe tuned", _tuned("cabinet")),
        Part("round_table_tuned", "Table 4.3, recipe tuned", _tuned("round_table")),
        Part("overlap", "Table 4.5, recipe thesis", _overlap),
        Part("sensitivity", "Tables 4.1 and 4.3, one assumption changed", _sensitivity),
        Part("sweep", "Overlap sweep and its diagnostics", lambda p: sweep_trials(p.name, 0)),
        Part("adaptation", "Set sizes, fine-tuning epochs and overlap", _adaptation),
    )
}


def _cost(trial: Trial) -> float:
    """Relative work of a trial: samples times network calls, and a share for training."""
    recipe = RECIPES["thesis"] if isinstance(trial.recipe, str) else trial.recipe
    calls = 2 if trial.configuration.endswith("joint") else 1
    size = (recipe.architecture.width / 128) ** 2
    sampling = calls * trial.profile.conditions * trial.profile.draws * recipe.steps / 100
    training = {"general": 200_000, "specialised": 50_000, "finetuned": 10_000}
    return size * (sampling + training.get(trial.configuration, 0))


def _start_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself


def _work(trial: Trial, root: Path) -> pd.DataFrame:
    return trial.table(Store(root))


Job = tuple[str, Trial]
"""A trial, and the part that asks for it."""


def _tables(todo: list[Job], store: Store, jobs: int) -> Iterator[tuple[Job, pd.DataFrame]]:
    """Every trial with its table, in the order in which they finish."""
    if jobs == 1:
        for job in todo:
            yield job, job[1].table(store)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, context, _start_worker, (threads,)) as pool:
        try:
            futures = {pool.submit(_work, job[1], store.root): job for job in todo}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


class _Progress:
    """A bar over the work of all trials; the time left is judged by what finished trials took.

    Their tables know how long they took, so trials that an earlier run finished help the
    estimate and do not spoil it.
    """

    def __init__(self, todo: list[Job], jobs: int, quiet: bool) -> None:
        total = sum(_cost(trial) for _, trial in todo)
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
        cost = _cost(trial)
        self.left, self.done = self.left - cost, self.done + cost
        self.seconds += float(table["seconds"].iloc[0])
        seconds = round(self.seconds / self.done * max(self.left, 0) / self.jobs)
        self.bar.set_postfix_str(f"about {datetime.timedelta(seconds=seconds)} left", False)
        self.bar.update(cost)


BAR = "{desc}: {percentage:3.0f} %|{bar}| {elapsed} so far{postfix}"
KEY = ["scenario", "recipe", "n_specialised", "finetune_epochs", "seed", "configuration"]


def _key(trial: Trial) -> tuple[Any, ...]:
    """What tells a trial from the others of its part: its values in the columns :data:`KEY`."""
    made = (trial.profile.n_specialised, trial.profile.finetune_epochs, trial.seed)
    return (trial.scenario.name, trial.recipe_name, *made, trial.configuration)


def _wanted(profile: str, parts: list[str]) -> dict[str, list[Trial]]:
    """The trials of every part, each part once."""
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, not {profile!r}")
    for part in parts:
        _check_part(part)
    return {part: PARTS[part].trials(PROFILES[profile]) for part in parts}


def _check_part(name: str) -> None:
    if name not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {name!r}")


def run(
    profile: str,
    parts: list[str],
    *,
    store: Store,
    output: Path = FOLDER,
    jobs: int = 1,
    quiet: bool = False,
) -> list[Path]:
    """Run parts of the results and write each as it finishes.

    Every configuration is stored as soon as it is done, so an interrupted run goes on where it
    stopped: each job loses at most the configuration it was at.

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

    Returns
    -------
    list of paths
        The tables, in the order of ``parts``.

    Raises
    ------
    ValueError
        For an unknown profile or part, or fewer jobs than 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    wanted = _wanted(profile, parts)
    tables: dict[str, dict[tuple[Any, ...], pd.DataFrame]] = {part: {} for part in wanted}
    todo = [(part, trial) for part, some in wanted.items() for trial in some]
    with _Progress(todo, jobs, quiet) as progress:
        progress.part(next(iter(tables), "nothing to do"))
        for (part, trial), table in _tables(todo, store, jobs):
            tables[part][_key(trial)] = table
            progress.finished(trial, table)
            if len(tables[part]) == len(wanted[part]):
                _write(PARTS[part], wanted[part], tables.pop(part), profile, output)
            progress.part(next(iter(tables), "done"))  # the first that is not written
    return [output / f"{part}.csv" for part in wanted]


def configuration_hash(some: list[Trial]) -> str:
    """SHA-256 of what the trials are made of, 64 hexadecimal digits."""
    text = json.dumps([trial.config() for trial in some], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(
    part: Part,
    some: list[Trial],
    tables: dict[tuple[Any, ...], pd.DataFrame],
    profile: str,
    output: Path,
) -> None:
    """The table in the order of its trials, and what it was made from."""
    in_order = []
    for trial in some:
        own = tables[_key(trial)].drop(columns="profile")
        own.insert(2, "n_specialised", trial.profile.n_specialised)
        own.insert(3, "finetune_epochs", trial.profile.finetune_epochs)
        in_order.append(own)
    table = pd.concat(in_order)
    size = some[0].profile
    recipes = {trial.recipe_name: trial.config()["recipe"] for trial in some}
    seconds = table.drop_duplicates(KEY)["seconds"].sum()
    record = {
        "part": part.name,
        "title": part.title,
        "command": f"dualdiff results --profile {profile} {part.name}",
        "profile": profile,
        "conditions": size.conditions,
        "draws": size.draws,
        "seeds": sorted({trial.seed for trial in some}),
        "trials": len(some),
        "n_general": size.n_general,
        "general_epochs": size.general_epochs,
        "specialised_epochs": size.specialised_epochs,
        "recipes": recipes,
        "configuration": configuration_hash(some),
        "sources": {module: code_version(module) for module in MAKES_TABLES},
        "versions": {
            "python": platform.python_version(),
            **provenance(),
            **{name: version(name) for name in ("numpy", "pandas")},
        },
        "revision": _revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(float(seconds)),
    }
    text = StringIO()
    table.drop(columns="seconds").to_csv(text, index=False, float_format="%.7g")
    output.mkdir(parents=True, exist_ok=True)
    write(output / f"{part.name}.csv", text.getvalue().encode())
    write(output / f"{part.name}.json", (json.dumps(record, indent=2) + "\n").encode())


def _revision() -> str:
    """The git revision of the checkout, marked if files differ from it."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(FOLDER.parent.parent), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    try:
        mark = " with changes" if git("status", "--porcelain", "--", "dualdiff") else ""
        return (git("rev-parse", "HEAD") or "unknown") + mark
    except OSError:
        return "unknown"


def load(part: str, folder: Path = FOLDER) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A committed table and its provenance.

    Raises
    ------
    ValueError
        If there is no such part.
    FileNotFoundError
        If the part has not been run.
    """
    _check_part(part)
    path = folder / f"{part}.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; make it with: dualdiff results --profile thesis {part}"
        )
    record = json.loads(path.with_suffix(".json").read_text())
    return pd.read_csv(path), record


def staleness(part: str, folder: Path = FOLDER) -> list[str]:
    """Why a committed table may differ from what the code would make now; empty: it is current.

    A reason that begins with ``stale`` means that something else would be computed; one that
    begins with ``changed`` names source files edited since, whose effect only a rerun shows.
    """
    table, record = load(part, folder)
    if missing_columns := sorted(set(KEY) - set(table)):
        return [f"stale: written without {', '.join(missing_columns)}"]
    some = PARTS[part].trials(PROFILES[record["profile"]])
    reasons = []
    if configuration_hash(some) != record["configuration"]:
        reasons.append("stale: the configuration of its trials is another one now")
    other = {_key(t) for t in some} ^ set(table[KEY].itertuples(index=False, name=None))
    if other:
        example = " ".join(map(str, min(other)))
        reasons.append(f"stale: {len(other)} trials differ, such as {example}")
    now = {module: code_version(module) for module in MAKES_TABLES}
    edited = [m for m in {*now, *record["sources"]} if now.get(m) != record["sources"].get(m)]
    if edited:
        reasons.append(f"changed since: {', '.join(sorted(edited))}")
    return reasons


def describe(part: str, folder: Path = FOLDER) -> tuple[str, str]:
    """A part's title, and its state: ``current``, ``not run``, or why it may be out of date.

    Raises
    ------
    ValueError
        If there is no such part.
    """
    try:
        state = "; ".join(staleness(part, folder)) or "current"
    except FileNotFoundError:
        state = "not run"
    return PARTS[part].title, state
