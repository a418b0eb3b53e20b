"""What a run says while it goes on: a bar and a table on a terminal, lines elsewhere."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

ROWS = 8
"""Running pieces that the table shows; the others are counted."""
SILENCE = 20
"""Seconds after which a piece says where it is, where there is no terminal to show it."""


class Progress:
    """The state of every piece of a run (pages, points), shown on standard error.

    Parameters
    ----------
    title, piece : str
        Of the run, and of what it is made of.
    total : int
        Pieces in all.
    quiet : bool
        Keep count, but say nothing.
    """

    def __init__(self, title: str, piece: str, total: int, quiet: bool) -> None:
        self.piece, self.total, self.quiet = piece, total, quiet
        self.table = sys.stderr.isatty() and not quiet
        self.running: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self.kept = self.done = 0
        self.start = time.monotonic()
        self.workers: Callable[[], int] | None = None
        """How many workers there are, if they can come and go."""
        self._waiting = False
        form = "{desc}: {percentage:3.0f} %|{bar:20}| {n_fmt} of {total_fmt} "
        form += f"{piece}s, {{elapsed}} so far{{postfix}}"
        self.bar = tqdm(total=total, desc=title, disable=not self.table, bar_format=form)
        self.rows: list[tqdm[Any]] = []

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        for row in reversed(self.rows):
            row.close()
        self.bar.close()

    def say(self, words: str) -> None:
        """A line that stays."""
        if not self.quiet:
            tqdm.write(words, file=sys.stderr)

    def begin(self, kept: int = 0) -> None:
        """The clock starts: so many pieces need not run."""
        self.kept, self.start = kept, time.monotonic()
        self.bar.update(kept)
        rows = min(ROWS, self.total - kept) + 1 if self.table else 0
        self.rows = [
            tqdm(position=row + 1, bar_format="{desc}", leave=False) for row in range(rows)
        ]

    def at(self, name: str, cell: int = 0, cells: int = 0, worker: str = "") -> None:
        """A piece has come to a cell; without one it begins. May be called in any thread."""
        if not cells:
            self.running[name] = {"since": time.monotonic(), "worker": worker}
            if not self.table:
                self.say(f"{name}: started" + f" on worker {worker}" * bool(worker))
        elif state := self.running.get(name):
            state["cell"] = f"{cell} of {cells}"
            if not self.table and time.monotonic() - state.get("said", state["since"]) > SILENCE:
                state["said"] = time.monotonic()
                self.say(f"{name}: cell {state['cell']}")
        self.refresh()

    def finish(self, name: str) -> None:
        """A piece is done."""
        since = self.running.pop(name, {}).get("since", self.start)
        self.done += 1
        took, count = time.monotonic() - since, self.kept + self.done
        so_far = f" ({count} of {self.total}, {self._left()})" if self.total > 1 else ""
        self.say(f"{name}: done in {took:.0f} s{so_far}")
        self.bar.update()
        self.refresh()

    def again(self, name: str, words: str) -> None:
        """A piece failed and is run again."""
        self.running.pop(name, None)
        self.say(f"{name}: an attempt failed: {_first(words)}; run again")

    def fail(self, name: str, words: str) -> None:
        """A piece failed for good."""
        self.running.pop(name, None)
        self.failed[name] = words
        self.say(f"{name}: failed: {_first(words)}")
        self.bar.update()
        self.refresh()

    def tick(self) -> None:
        """Nothing happened for a while."""
        if self.workers is not None:
            before, self._waiting = self._waiting, not self.workers()
            if self._waiting and not before:
                self.say("no worker yet: waiting for one")
        self.refresh()

    def refresh(self) -> None:
        """Draw the table anew."""
        failed = f"{len(self.failed)} failed" if self.failed else ""
        said = ", ".join(filter(None, [self._left(), failed]))
        self.bar.set_postfix_str(said, refresh=False)
        self.bar.refresh()
        if not self.rows:
            return
        lines = [f"{self.piece:<44} {'cell':>9} {'seconds':>8}  worker"]
        for name, state in list(self.running.items())[: len(self.rows) - 1]:
            seconds = time.monotonic() - state["since"]
            cell = state.get("cell", "")
            lines.append(f"{name[:44]:<44} {cell:>9} {seconds:>8.0f}  {state['worker']}")
        if len(self.running) >= len(self.rows):
            lines[0] += f"; {len(self.running) - len(self.rows) + 1} more are running"
        for row, line in zip(self.rows, [*lines, *[""] * len(self.rows)], strict=False):
            row.set_description_str(line)

    def _left(self) -> str:
        """The time left, as far as finished pieces tell."""
        ended = self.done + len(self.failed)
        if not ended:
            return ""
        left = (time.monotonic() - self.start) / ended * (self.total - self.kept - ended)
        return f"about {datetime.timedelta(seconds=round(left))} left"


def _first(words: str) -> str:
    """The first line."""
    return words.partition("\n")[0]
