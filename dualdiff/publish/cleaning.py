"""What was built is removed, and what was removed is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from dualdiff.publish.declared import variants
from dualdiff.store import STORE


def clean(root: Path, *, keep_store: bool = False) -> Iterator[str]:
    """Remove what was built: book, executed notebooks, variants, and stored results.

    Yields
    ------
    str
        What was removed, or kept, once it is.
    """
    written = [f"{name}.ipynb" for name, entry in variants(root).items() if entry.get("source")]
    stores = [root / STORE, root / "_build" / "store"]  # the second as it was before
    paths = [root / name for name in written] + sorted((root / "_build").glob("*")) + stores[:1]
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
