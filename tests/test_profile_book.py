"""What the profile of the book calls the work of a stack."""

import sys
from pathlib import Path

import pytest
from profile_book import ROLES, profiled, role, table

from dualdiff.publish.children import Page

OUTER = ["/lib/runpy.py", "/lib/ipykernel_launcher.py", "/lib/asyncio/base_events.py"]
CELL = "/tmp/ipykernel_123/456.py"
STACKS = {
    "kernel start": (OUTER, False),
    "between cells": (OUTER, True),
    "other code": ([*OUTER, CELL, "/lib/pandas/core.py"], False),
    "training": ([*OUTER, CELL, "/p/dualdiff/training.py", "/p/dualdiff/samplers.py"], True),
    "sampling": ([*OUTER, CELL, "/p/dualdiff/samplers.py", "/lib/concurrent/futures/x.py"], True),
    "imports": ([*OUTER, CELL, "<frozen importlib._bootstrap>", "/p/dualdiff/training.py"], True),
    "drawing": ([*OUTER, "/lib/matplotlib_inline/backend_inline.py"], True),
    "waiting": ([*OUTER, CELL, "/lib/concurrent/futures/_base.py"], True),
}


@pytest.mark.parametrize("name", STACKS)
def test_the_outermost_function_with_a_role_counts(name: str) -> None:
    assert role(*STACKS[name]) == name


def test_all_time_of_a_page_has_a_role(tmp_path: Path) -> None:
    """Cells that wait, and a module of the roles that is slow to load."""
    from profile_book import HOOK
    from test_runner import write

    code = (
        "import time\nlast = time.monotonic() + 0.6\nwhile time.monotonic() < last: time.sleep(0)"
    )
    notebook = tmp_path / "page.ipynb"
    write(notebook, code)
    script = str(Path(sys.modules["profile_book"].__file__ or ""))
    (tmp_path / "sitecustomize.py").write_text(HOOK.format(script=script))
    sums = profiled(Page("page", notebook), tmp_path, {})
    assert {*sums} == {*ROLES} and sums["other code"] > 0.3 and sums["kernel start"] > 0
    assert not any(sums[name] for name in ("training", "sampling", "metrics"))
    last = table({"page": sums}).splitlines()[-1].split()
    assert last[0] == "all" and float(last[-1]) == pytest.approx(sum(sums.values()), abs=0.06)
