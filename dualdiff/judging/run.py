"""A newcomer judged: the laws first, then all problems, beside the committed built-in rows."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd

from dualdiff.checks import check_rule
from dualdiff.checks.rules import WHAT, Make, kind_of
from dualdiff.experiments.provenance import PROJECT
from dualdiff.experiments.trained import progress_bar
from dualdiff.files import write
from dualdiff.judging.entries import ENTRIES, as_draw
from dualdiff.judging.problems import PROBLEMS, VERSION
from dualdiff.judging.show import figure, png, words
from dualdiff.judging.table import joined
from dualdiff.judging.trials import SIZES, judged
from dualdiff.randomness import stream

BUILT_IN = PROJECT / "book" / "results" / f"judge_{VERSION}.csv"
LOADED = "judged_rule"
"""What a stranger's file is called as a module."""


def built_in(path: Path = BUILT_IN) -> pd.DataFrame:
    """The committed rows of the built-in entries, one per problem, entry, seed and metric.

    Raises
    ------
    FileNotFoundError
        With the command that makes them.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: it is a part of the checkout, and "
            f"`dualdiff results judge_{VERSION}` makes it"
        )
    return pd.read_csv(path)


def judge(
    rule: Make,
    *,
    name: str = "",
    output: Path | None = None,
    profile: str = "full",
    quiet: bool = False,
    say: Callable[[str], object] = print,
) -> pd.DataFrame:
    """Judge a rule or sampler of your own on problems v1, whose truth is known.

    The laws of :func:`dualdiff.checks.check_rule` run first, and what breaks one is not judged
    (aiming at something else than the product is no breach). Then every problem at several seeds,
    at the number of network calls that the built-in entries had.

    Parameters
    ----------
    rule : callable
        ``make(members) -> Denoiser`` of a mapping of names to denoisers, sampled by the thesis's
        ancestral steps; or ``(members, conditions, generator, *, draws) -> samples``.
    name : str
        What it is called; by default its own name.
    output : path, optional
        Folder for the table ``NAME_v1.csv`` and the figure ``NAME_v1.png``; by default none.
    profile : str
        ``full`` has the sizes of the built-in rows; ``quick`` and ``smoke`` fewer samples, whose
        floor is higher: they show that a rule runs, stand beside a floor of their own and have no
        rank.
    quiet : bool
        No progress bar.
    say : callable
        Takes the report of the laws and the table in words.

    Returns
    -------
    DataFrame
        Of :func:`dualdiff.judging.table.joined`.

    Raises
    ------
    ValueError
        For what is no rule or breaks a law, a name that is taken, an unknown profile, and samples
        of another shape.
    FileNotFoundError
        If the built-in rows are not there.
    """
    kind_of(rule)
    name = name or getattr(rule, "__name__", type(rule).__name__)
    if name in ENTRIES:
        taken = ", ".join(ENTRIES)
        raise ValueError(f"name {name!r} is that of a built-in entry: it must be none of {taken}")
    if profile not in SIZES:
        raise ValueError(f"profile must be one of {', '.join(SIZES)}, not {profile!r}")
    others = built_in()
    check_rule(rule, stream(0, "judge", "laws"), product=False).raise_if_failed()
    say(str(check_rule(rule, stream(0, "judge", "laws"))))
    (conditions, seeds), draw, rows = SIZES[profile], as_draw(rule), []
    with progress_bar(len(PROBLEMS) * seeds, f"{name} on problems {VERSION}", quiet) as bar:
        for key, problem in PROBLEMS.items():
            for seed in range(seeds):
                try:
                    found, _ = judged(draw, problem, conditions, seed)
                except (ValueError, KeyError) as error:
                    if len(problem.laws) == 2:
                        raise
                    say(f"Left out of {problem.title!r}: {error}")
                    bar.update(seeds)
                    break
                rows += [(key, name, seed, metric, *value) for metric, value in found.items()]
                bar.update()
    columns = ["scenario", "configuration", "seed", "metric", "value", "low", "high"]
    table = joined(pd.concat([others, pd.DataFrame(rows, columns=columns)]))
    say(words(table, name))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        files = [output / f"{name}_{VERSION}.{kind}" for kind in ("csv", "png")]
        write(files[0], table.to_csv(index=False).encode())
        write(files[1], png(figure(table, name)))
        say(f"Table: {files[0]}\nFigure: {files[1]}")
    return table


def load(what: str) -> tuple[str, Make]:
    """A rule by ``FILE.py`` or ``FILE.py:NAME``; the file is executed.

    Raises
    ------
    ValueError
        If there is no such file or name, it cannot be executed, or holds several rules and none is
        named.
    """
    place, _, wanted = what.partition(".py:") if ".py:" in what else (what[:-3], "", "")
    path = Path(f"{place}.py")
    if not (what.endswith(".py") or wanted) or not path.is_file():
        raise ValueError(f"rule must be FILE.py or FILE.py:NAME of a file that exists, not {what}")
    spec = importlib.util.spec_from_file_location(LOADED, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[LOADED] = module  # dataclasses of the file ask for it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be executed: {type(error).__name__}: {error}") from error
    return _named(module, path, wanted)


def _named(module: ModuleType, path: Path, wanted: str) -> tuple[str, Make]:
    own: dict[str, Make] = {}
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") == LOADED and callable(value) and name[0] != "_":
            if not isinstance(value, type):
                own[name] = value
    if wanted:
        if not callable(made := getattr(module, wanted, None)):
            raise ValueError(f"{path} has no function {wanted!r}, but {', '.join(own) or 'none'}")
        return wanted, made
    if len(own) != 1:
        some = f"{len(own)} functions ({', '.join(own)}): name one, {path}:NAME" if own else "none"
        raise ValueError(f"{path} must hold one rule, not {some}; {WHAT}")
    return own.popitem()
