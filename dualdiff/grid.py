"""Which points a sweep runs: a YAML file to parameter sets, checked before anything starts."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualdiff import runner
from dualdiff.profiles import PARAMETERS


@dataclass(frozen=True)
class Point:
    """One run of a notebook.

    Parameters
    ----------
    name : str
        Of its files: what the grid says of it, and the beginning of the fingerprint.
    parameters : dict
        All parameters of the notebook.
    fingerprint : str
        Of all that the run depends on.
    """

    name: str
    parameters: dict[str, Any]
    fingerprint: str

    def config(self) -> dict[str, Any]:
        """What its table is stored under."""
        return {"parameters": self.parameters, "fingerprint": self.fingerprint}


def points_of(file: Path, notebook: Path) -> list[Point]:
    """The points that a YAML file asks for, all of them checked, each once.

    The file has ``grid`` (names with lists of values: every combination), ``points`` (a list of
    names with values), or both, and may have ``parameters`` (names with a value for all points).

    Raises
    ------
    ValueError
        If the file is not such a file, the notebook has no such parameter or a value is not
        allowed, or if the notebook hands over no results.
    """
    import yaml

    try:
        spec = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    if not any(re.search(r"\brecord\(", text) for text in code):
        raise ValueError(
            f"{notebook.name} hands over no results; one of its cells must call "
            "dualdiff.sweep.record with a table"
        )
    found: dict[str, Point] = {}
    try:
        for common, given in _combinations(spec):
            full = runner.validate(notebook, common | given)
            fingerprint = runner.fingerprint(notebook, full)
            words = "-".join(f"{name}={value}" for name, value in given.items())
            words = re.sub(r"[^\w.=+-]", "_", words)[:60]  # of files, everywhere
            name = "-".join(filter(None, [words, fingerprint[:12]]))
            found.setdefault(fingerprint, Point(name, full, fingerprint))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return list(found.values())


def _combinations(spec: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What the file says of all points and of each, values in the types of their parameters."""
    names = ("parameters", "grid", "points")
    if not isinstance(spec, dict) or not set(spec) <= set(names) or not set(spec) & set(names[1:]):
        raise ValueError("it must have 'grid' or 'points' or both, may have 'parameters', no more")
    common, grid, points = spec.get("parameters", {}), spec.get("grid"), spec.get("points", [])
    for what, part in (("parameters", common), ("grid", {} if grid is None else grid)):
        if not isinstance(part, dict):
            raise ValueError(f"{what!r} is {part!r}; it must be names with values")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise ValueError(f"'points' is {points!r}; it must be a list of names with values")
    for name, values in (grid or {}).items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"grid: {name!r} is {values!r}; it must be a list of values")
    product = itertools.product(*grid.values()) if grid else ()
    for some in (*(dict(zip(grid or {}, values, strict=True)) for values in product), *points):
        yield _typed(common), _typed(some)


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in values.items()}


def _value(name: str, value: Any) -> Any:
    known = PARAMETERS.get(name)
    if known is None:
        return value  # refused with all names of the notebook
    if isinstance(value, str):
        return known.parse(value)  # as on the command line: YAML takes 1e-3 for text
    known.check(value)
    return known.type(value)  # 3 and 3.0 are one point
