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
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from dualdiff.members import RECIPES, Recipe, code_version
from dualdiff.overlap import SETTINGS, shifted_table, targets
from dualdiff.profiles import PROFILES, Profile
from dualdiff.scenarios import SCENARIOS, make_scenario
from dualdiff.store import Store, provenance, write
from dualdiff.study import MAKES_TABLES, Trial, trials

FOLDER = Path(__file__).resolve().parent.parent / "book" / "results"


@dataclass(frozen=True)
class Part:
    """A table of the book and the trials that make it at a profile."""

    name: str
    title: str
    trials: Callable[[Profile], list[Trial]]


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
    return [t for w in worlds for t in trials(w, [RECIPES["thesis"]], size, 0, targets(w))]


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
    size = _smaller(profile, 1_000, 2)
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
    )
}


def _cost(trial: Trial) -> float:
    """Relative work of a trial: samples times network calls, and a share for training."""
    calls = 2 if trial.configuration.endswith("joint") else 1
    assert isinstance(trial.recipe, Recipe)
    size = (trial.recipe.architecture.width / 128) ** 2
    sampling = calls * trial.profile.conditions * trial.profile.draws * trial.recipe.steps / 100
    training = {"general": 200_000, "specialised": 50_000, "finetuned": 10_000}
    return size * (sampling + training.get(trial.configuration, 0))


def _start_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself


def _work(trial: Trial, root: Path) -> pd.DataFrame:
    return trial.table(Store(root))


def _tables(todo: list[Trial], store: Store, jobs: int, quiet: bool) -> Iterator[pd.DataFrame]:
    """The table of every trial, in the order in which they finish."""
    if jobs == 1:
        for trial in todo:
            yield trial.table(store, quiet=quiet)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, context, _start_worker, (threads,)) as pool:
        try:
            futures = [pool.submit(_work, trial, store.root) for trial in todo]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


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
    parts : list of str
        Names of :data:`PARTS`.
    store : Store
    output : path
        Folder of the tables ``PART.csv`` and their provenance ``PART.json``.
    jobs : int
        Configurations that run at a time; the numbers do not depend on it.
    quiet : bool
        No progress bar.

    Returns
    -------
    list of paths
        The tables.

    Raises
    ------
    ValueError
        For an unknown profile or part, or fewer jobs than 1.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, not {profile!r}")
    for part in parts:
        _check_part(part)
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    size = PROFILES[profile]
    todo = {part: PARTS[part].trials(size) for part in parts}
    total = sum(_cost(trial) for some in todo.values() for trial in some)
    written = []
    with tqdm(total=total, disable=quiet, unit_scale=True, bar_format=BAR) as bar:
        for part, some in todo.items():
            bar.desc = part
            work = {_key(t): _cost(t) for t in some}
            tables = []
            for table in _tables(some, store, jobs, quiet):
                tables.append(table)
                bar.update(work[_key_of(table)])
            written.append(_write(PARTS[part], some, tables, profile, output))
    return written


BAR = "{desc}: {percentage:3.0f} %|{bar}| {elapsed} so far, {remaining} left"
KEY = ["scenario", "recipe", "seed", "configuration"]


def _key(trial: Trial) -> tuple[Any, ...]:
    return (trial.scenario.name, trial.recipe_name, trial.seed, trial.configuration)


def _key_of(table: pd.DataFrame) -> tuple[Any, ...]:
    first = table.iloc[0]
    return tuple(first[name] for name in KEY)


def _check_part(name: str) -> None:
    if name not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {name!r}")


def configuration_hash(some: list[Trial]) -> str:
    """SHA-256 of what the trials are made of, 64 hexadecimal digits."""
    text = json.dumps([trial.config() for trial in some], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(
    part: Part, some: list[Trial], tables: list[pd.DataFrame], profile: str, output: Path
) -> Path:
    """The table in the order of its trials, and what it was made from."""
    place = {_key(trial): index for index, trial in enumerate(some)}
    by_place = {place[_key_of(table)]: table for table in tables}
    table = pd.concat(by_place[index] for index in sorted(by_place))
    seconds = table.drop_duplicates(KEY)["seconds"].sum()
    size = some[0].profile
    record = {
        "part": part.name,
        "title": part.title,
        "command": f"dualdiff results --profile {profile} {part.name}",
        "profile": profile,
        "conditions": size.conditions,
        "draws": size.draws,
        "seeds": sorted({trial.seed for trial in some}),
        "configuration": configuration_hash(some),
        "sources": {module: code_version(module) for module in MAKES_TABLES},
        "versions": {"python": platform.python_version(), **provenance()},
        "revision": _revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(float(seconds)),
    }
    text = StringIO()
    table.drop(columns=["seconds", "profile"]).to_csv(text, index=False, float_format="%.7g")
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{part.name}.csv"
    write(path, text.getvalue().encode())
    write(output / f"{part.name}.json", (json.dumps(record, indent=2) + "\n").encode())
    return path


def _revision() -> str:
    """The git revision of the checkout, marked if files differ from it."""
    git = ["git", "-C", str(FOLDER.parent.parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "dualdiff"], capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    mark = " with changes" if changed.stdout.strip() else ""
    return (head.stdout.strip() or "unknown") + mark


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
    some = PARTS[part].trials(PROFILES[record["profile"]])
    reasons = []
    if configuration_hash(some) != record["configuration"]:
        reasons.append("stale: the configuration of its trials is another one now")
    missing = {_key(t) for t in some} ^ set(table[KEY].itertuples(index=False, name=None))
    if missing:
        reasons.append(f"stale: trials differ: {', '.join(map(str, sorted(missing)))}")
    now = {module: code_version(module) for module in MAKES_TABLES}
    edited = [m for m in {*now, *record["sources"]} if now.get(m) != record["sources"].get(m)]
    if edited:
        reasons.append(f"changed since: {', '.join(sorted(edited))}")
    return reasons
