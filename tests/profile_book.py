"""Where the time of the chapters goes: ``python tests/profile_book.py 01 02 --profile smoke``.

Without numbers: all of the book. Each chapter runs alone, with all cores, and with an empty store
unless ``--store`` names one, so that networks are trained. Nothing of a chapter is changed: a
thread in its kernel, started by a ``sitecustomize`` in a folder of this run, looks every few
milliseconds at what the main thread does. The outermost function that has a role counts, so
sampling inside of training is training; imports are imports wherever they happen.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PLACES = {
    "training": ("dualdiff/training.py", "dualdiff/stopping.py"),
    "sampling": ("dualdiff/samplers.py", "dualdiff/correct.py", "dualdiff/mcmc.py"),
    "metrics": ("dualdiff/metrics.py", "dualdiff/robot/judge.py"),
    "drawing": ("/matplotlib/", "/matplotlib_inline/", "dualdiff/plots/"),
    "waiting": ("/concurrent/futures/", "/multiprocessing/", "/filelock/"),
}
"""The parts of file names that a role is known by."""
BEFORE, IDLE, REST = "kernel start", "between cells", "other code"
ROLES = ("training", "sampling", "metrics", "drawing", "imports", BEFORE, "waiting", IDLE, REST)
CELL = re.compile(r"ipykernel_\d+")
"""What the files of cells are called."""
EVERY, WRITTEN = 0.005, 0.25
"""Seconds between two looks, and between two writings of the sums."""


def role(files: list[str], begun: bool) -> str:
    """What a stack does, from the names of its files, outermost first.

    Parameters
    ----------
    files : list of str
    begun : bool
        Whether a cell ran before.
    """
    cell = next((i for i, name in enumerate(files) if CELL.search(name)), None)
    inside = files[cell:] if cell is not None else files * begun
    if cell is not None and any("importlib._bootstrap" in name for name in inside):
        return "imports"
    for name in inside:  # also outside of cells: figures are printed when their cell has ended
        for found, parts in PLACES.items():
            if any(part in name for part in parts):
                return found
    return REST if cell is not None else IDLE if begun else BEFORE


def watch(out: Path) -> None:
    """In the kernel: look at the main thread until the process ends, and keep the sums."""
    import threading

    main = threading.main_thread().ident
    sums: dict[str, float] = dict.fromkeys(ROLES, 0.0)

    def look() -> None:
        last = written = time.perf_counter()
        begun = False
        while True:
            time.sleep(EVERY)
            frame, files = sys._current_frames().get(main or 0), []
            while frame is not None:
                files.append(frame.f_code.co_filename)
                frame = frame.f_back
            found = role(files[::-1], begun)
            begun = begun or found not in (BEFORE, IDLE)
            now = time.perf_counter()
            sums[found] += now - last
            last = now
            if now - written > WRITTEN:
                written = now
                out.with_suffix(".new").write_text(json.dumps(sums))
                os.replace(out.with_suffix(".new"), out)

    threading.Thread(target=look, daemon=True).start()


HOOK = """import os, sys
if "ipykernel_launcher" in sys.orig_argv:
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path
    spec = spec_from_file_location("profile_book", {script!r})
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.watch(Path(os.environ["PROFILE_BOOK"]))
"""


def profiled(page: Any, folder: Path, variables: Mapping[str, str]) -> dict[str, float]:
    """Seconds of a page by role, and of all of it.

    Raises
    ------
    dualdiff.publish.children.ChapterError
        If it does not run to its end.
    """
    from dualdiff.publish.children import Children, environment

    out, done = folder / "sums.json", folder / "done.ipynb"
    out.unlink(missing_ok=True)
    threads = os.cpu_count() or 1
    path = os.pathsep.join(filter(None, [str(folder), str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {**variables, "PYTHONPATH": path, "PROFILE_BOOK": str(out)}
    began = time.perf_counter()
    with Children() as children:
        failed = folder / "failed.ipynb"
        children.execute(page, done, failed, lambda *_: None, environment(threads, own))
    total = time.perf_counter() - began
    sums: dict[str, float] = json.loads(out.read_text())
    # Also what stands around the kernel: the child's own start, and its end.
    sums[BEFORE] += max(0.0, total - sum(sums.values()))
    return sums


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Seconds by chapter and role, the sum below."""
    width = max(map(len, [*found, "all"]))
    heads = "".join(f"{name:>14}" for name in (*ROLES, "all"))
    lines = [f"{'seconds':<{width}}{heads}"]
    total = {role: sum(sums[role] for sums in found.values()) for role in ROLES}
    for name, sums in [*found.items(), ("all", total)]:
        cells = [*(sums[role] for role in ROLES), sum(sums.values())]
        lines.append(f"{name:<{width}}" + "".join(f"{value:>14.1f}" for value in cells))
    return "\n".join(lines)


def figure(found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """A bar for every chapter, cut by role."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    drawn = Figure((9, 1.5 + 0.3 * len(found)), layout="constrained")
    axes = drawn.subplots()
    names = [*found][::-1]
    left = [0.0] * len(names)
    for role, colour in zip(ROLES, colormaps["tab10"].colors, strict=False):  # type: ignore[attr-defined]
        values = [found[name][role] for name in names]
        axes.barh(names, values, left=left, color=colour, label=role)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_xlabel("seconds")
    drawn.legend(loc="outside upper center", ncols=5, frameon=False)
    drawn.savefig(path)


def main() -> None:
    """Run the chapters and say where their time went."""
    from dualdiff.publish.book import book_pages, write_variants
    from dualdiff.publish.declared import variants

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", help="beginnings of their names, such as 02")
    parser.add_argument("--profile", default="quick", help="of the chapters (quick)")
    parser.add_argument("--store", type=Path, help="where networks are kept; empty by default")
    parser.add_argument("-o", "--figure", type=Path, help="where to draw the bars, such as p.png")
    asked = parser.parse_args()
    entries = variants(ROOT)
    write_variants(ROOT, entries)
    pages = {Path(page.name).name: page for page in book_pages(ROOT, entries, asked.profile)}
    chosen = {
        name: page
        for name, page in pages.items()
        if not asked.chapters or name.startswith(tuple(asked.chapters))
    }
    if not chosen:
        sys.exit(
            f"no chapter begins with {', '.join(asked.chapters)}; there are {', '.join(pages)}"
        )
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(HOOK.format(script=__file__))
        variables = {"DUALDIFF_STORE": str((asked.store or folder / "store").resolve())}
        for chapter, page in chosen.items():
            print(f"{chapter} ...", file=sys.stderr, flush=True)
            found[chapter] = profiled(page, folder, variables)
    print(table(found))
    if asked.figure:
        figure(found, asked.figure)


if __name__ == "__main__":
    main()
