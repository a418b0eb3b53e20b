"""The project on the disk: its folder, its chapters, and what was built in it."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dualdiff import __version__
from dualdiff.experiments.provenance import COPY, PROJECT, revision

ANYWHERE = "fit, init, judge, list, results, run, sample, sweep"
"""Commands that work outside of a project, too."""


def project_root(*, reading: bool = False) -> Path:
    """The project's folder: the one we stand in or a parent of it, else the checkout.

    Parameters
    ----------
    reading : bool
        Nothing is written there, so that what an installed package brings along will do.

    Raises
    ------
    ValueError
        If neither is a project, that is, has a ``_config.yml`` and a ``_toc.yml``.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, PROJECT):
        found = (folder / "_config.yml").is_file() and (folder / "_toc.yml").is_file()
        if found and (reading or folder != COPY):
            return folder
    raise ValueError(
        f"{here} is not inside the project: there is no _config.yml with a _toc.yml. The notebooks "
        f"and pages of dualdiff {__version__} come with: dualdiff init FOLDER. Without them these "
        f"commands work: {ANYWHERE}"
    )


def build_stamp() -> dict[str, str]:
    """What a book that is built now is of: ``version``, ``revision`` and ``date``.

    The revision is that of git, or of what ``dualdiff init`` has copied. The date is today's (UTC),
    or that of ``SOURCE_DATE_EPOCH``, so that the same book can be built again.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.now(datetime.UTC)
    then = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch else now
    return {
        "version": __version__,
        "revision": revision(),
        "date": then.date().isoformat(),
    }


def _written(root: Path) -> list[Path]:
    """The variants that the book writes."""
    from dualdiff.publish.declared import variants

    return [root / f"{name}.ipynb" for name, entry in variants(root).items() if "source" in entry]


def chapters(root: Path) -> list[Path]:
    """The notebooks of the project, in reading order, without the variants that the book writes."""
    written = _written(root)
    return [path for path in sorted((root / "notebooks").glob("*.ipynb")) if path not in written]


def find_notebook(name: str) -> Path:
    """The notebook that a path, a file name or a chapter's number stands for.

    Raises
    ------
    ValueError
        If there is none or more than one.
    """
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    known = chapters(project_root(reading=True))
    exact = [p for p in known if Path(name).stem in (p.stem, p.stem.partition("_")[0])]
    found = exact or [path for path in known if path.stem.startswith(name)]
    if len(found) != 1:
        names = ", ".join(path.stem for path in found or known) or "none"
        what = "more than one notebook" if found else "no notebook"
        raise ValueError(f"{name!r} names {what}; it must be a path or one of: {names}")
    return found[0]


def writable(folder: Path) -> Path:
    """A folder that is to hold results, before work is put into them.

    Raises
    ------
    ValueError
        If it is no folder, or nothing can be written or made there.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            return folder
    except OSError as error:
        words = f"output is {folder}; it must be a folder that can be written"
        raise ValueError(f"{words}: {error.strerror}") from error


def clean(root: Path, *, keep_store: bool = False) -> Iterator[str]:
    """Remove what was built: book, executed notebooks, variants, and stored results.

    Yields
    ------
    str
        What was removed, or kept, once it is.
    """
    from dualdiff.experiments.store import STORE

    stores = [root / STORE, root / "_build" / "store"]  # the second as it was before
    paths = _written(root) + sorted((root / "_build").glob("*")) + stores[:1]
    for path in filter(Path.exists, paths):
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files) / 2**20
        what = " of trained networks and tables" * (path in stores)
        words = f"{path.relative_to(root)} ({len(files)} files{what}, {size:.1f} MiB)"
        if path in stores and keep_store:
            yield f"kept {words}"
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        yield f"removed {words}"
