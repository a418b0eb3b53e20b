"""What a sweep says while it runs: a bar and a table on a terminal, lines elsewhere."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any

from tqdm import tqdm

ROWS = 8
"""Running points that the table shows; the others are counted."""
_BAR = (
    "{desc}: {percentage:3.0f} %|{bar:20}| {n_fmt} of {total_fmt} points, {elapsed} so far{postfix}"
)


class Status:
    """The state of every point, shown on standard error.

    Parameters
    ----------
    total : int
        Points in all.
    quiet : bool
        Keep count, but say nothing.
    """

    def __init__(self, total: int, quiet: bool) -> None:
        self.total, self.quiet = total, quiet
        self.table = sys.stderr.isatty() and not quiet
        self.running: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self.kept = self.done = 0
        self.start, self.last_workers = time.monotonic(), -1
        self.bar = tqdm(total=total, desc="sweep", disable=not self.table, bar_format=_BAR)
        self.rows: list[tqdm[Any]] = []

    def __enter__(self) -> Status:
        return self

    def __exit__(self, *_: object) -> None:
        for row in reversed(self.rows):
            row.close()
        self.bar.close()

    def say(self, words: str) -> None:
        """A line that stays."""
        if not self.quiet:
            tqdm.write(words, file=sys.stderr)

    def begin(self, kept: int) -> None:
        """The clock starts: so many points need not run."""
        self.kept, self.start = kept, time.monotonic()
        self.bar.update(kept)
        self.say(f"{self.total} points: {kept} kept, {self.total - kept} to run")
        rows = min(ROWS, self.total - kept) + 1 if self.table else 0
        self.rows = [
            tqdm(position=row + 1, bar_format="{desc}", leave=False) for row in range(rows)
        ]

    def event(self, message: dict[str, Any]) -> None:
        """What a worker says of a point."""
        name = message["point"]
        if "failed" in message:
            self.say(f"{name}: an attempt failed: {_first(message['failed'])}")
        if "cell" not in message:
            return
        if not message["cells"]:
            self.running[name] = {"since": time.monotonic()}
            if not self.table:
                self.say(f"{name}: started on worker {message['worker']}")
        self.running.setdefault(name, {"since": time.monotonic()}).update(message)
        self.refresh()

    def finish(self, name: str) -> None:
        """A point is done and stored."""
        since = self.running.pop(name, {}).get("since", self.start)
        self.done += 1
        if not self.table:
            took, count = time.monotonic() - since, self.kept + self.done
            self.say(f"{name}: done in {took:.0f} s ({count} of {self.total}, {self._left()})")
        self.bar.update()
        self.refresh()

    def fail(self, name: str, words: str) -> None:
        """A point failed for good."""
        self.running.pop(name, None)
        self.failed[name] = words
        self.say(f"{name}: failed: {_first(words)}")
        self.bar.update()
        self.refresh()

    def refresh(self, workers: int | None = None) -> None:
        """Draw the table anew; `workers` is how many there are, if that is known."""
        if workers is not None and workers != self.last_workers:
            if not workers:
                self.say("no worker yet: waiting for one")
            self.last_workers = workers
        failed = f"{len(self.failed)} failed" if self.failed else ""
        said = ", ".join(filter(None, [self._left(), failed]))
        self.bar.set_postfix_str(said, refresh=False)
        self.bar.refresh()
        if not self.rows:
            return
        lines = [f"{'point':<44} {'cell':>9} {'seconds':>8}  worker"]
        for name, state in list(self.running.items())[: len(self.rows) - 1]:
            cell = f"{state.get('cell', 0)} of {state.get('cells', 0)}"
            seconds = time.monotonic() - state["since"]
            lines.append(f"{name[:44]:<44} {cell:>9} {seconds:>8.0f}  {state.get('worker', '')}")
        if len(self.running) >= len(self.rows):
            lines[0] += f"; {len(self.running) - len(self.rows) + 1} more are running"
        for row, line in zip(self.rows, [*lines, *[""] * len(self.rows)], strict=False):
            row.set_description_str(line)

    def _left(self) -> str:
        """The time left, as far as finished points tell."""
        ended = self.done + len(self.failed)
        if not ended:
            return ""
        left = (time.monotonic() - self.start) / ended * (self.total - self.kept - ended)
        return f"about {datetime.timedelta(seconds=round(left))} left"


def _first(words: str) -> str:
    """The first line."""
    return words.partition("\n")[0]
