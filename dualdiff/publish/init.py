"""A folder of one's own with the notebooks and pages of this version: ``dualdiff init``.

A wheel brings them along (`COPY`, written when it is built: ``setup.py``), so that version of
module and notebooks agree. The standard library is enough here: nothing else is there in a build.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

from dualdiff import __version__
from dualdiff.experiments.provenance import COPY, FOLDER, STAMP, revision

FILES = (
    *("book", "notebooks", ".binder", "_toc.yml", "requirements.txt", "constraints.txt"),
    *("Makefile", "make.py", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"),
    *("LICENSE", ".gitignore", STAMP, "_config.yml"),
)
"""Of the project, in the order in which they appear: the last one makes a folder a project."""


def write(source: Path, target: Path) -> None:
    """Copy what a project consists of, and note its version and revision.

    Parameters
    ----------
    source, target : Path
        A checkout or a copy of one, and a folder, which may be there. What ``.gitignore`` names
        is left out.
    """
    target.mkdir(parents=True, exist_ok=True)
    ignore = _ignored(source)
    for name in FILES:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=ignore)
        elif name == STAMP:
            (target / STAMP).write_text(stamp(source), "utf-8")
        elif (source / name).is_file():
            shutil.copy(source / name, target)


def stamp(source: Path) -> str:
    """Version and revision of a project, as JSON."""
    return json.dumps({"version": __version__, "revision": revision(source)}) + "\n"


def _ignored(source: Path) -> Callable[[str, list[str]], Iterable[str]]:
    lines = (source / ".gitignore").read_text("utf-8").splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]

    def ignored(folder: str, names: list[str]) -> list[str]:
        inside = Path(folder).relative_to(source)
        paths = {name: (inside / name).as_posix() for name in names}
        return [
            name
            for name, path in paths.items()
            if any(fnmatch(path if "/" in pattern else name, pattern) for pattern in patterns)
        ]

    return ignored


def init(folder: Path) -> None:
    """Write the notebooks and pages of this version into a folder, all of them or nothing.

    Raises
    ------
    ValueError
        If there is something in the folder already, or it cannot be written.
    """
    words = f"folder is {folder}; it must be a new or an empty one"
    new = not os.path.lexists(folder)
    if not new and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(words)
    where, moved = folder.absolute().parent if new else folder, list[Path]()
    try:
        where.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".dualdiff-", dir=where) as partial:
            whole = Path(partial) / "whole"
            write(COPY if COPY.is_dir() else FOLDER.parent, whole)
            if new:
                whole.rename(folder)
                return
            try:
                for name in FILES:
                    if (whole / name).exists():
                        moved.append((whole / name).rename(folder / name))
            except BaseException:
                for path in moved:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                raise
    except OSError as error:
        raise ValueError(f"{words} that can be written: {error.strerror or error}") from error
