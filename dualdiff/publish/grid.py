"""Which points a sweep runs: a YAML file to parameter sets, checked before anything starts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualdiff.publish import declared, notebooks, runner
from dualdiff.publish.declared import Declared

COLUMNS = frozenset("metric value low high spread seeds runs seconds error size cell".split())
"""Columns of what was measured and of the report on it, in whose place no parameter may stand."""


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
    spec, known = read_yaml(file), declared.parameters(notebook)
    cells = notebooks.read(notebook).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    if not any(re.search(r"\brecord\(", text) for text in code):
        raise ValueError(
            f"{notebook.name} hands over no results; one of its cells must call "
            "dualdiff.publish.sweep.record with a table"
        )
    if taken := known.keys() & COLUMNS:
        raise ValueError(
            f"{notebook.name} has a parameter {min(taken)!r}; in a sweep its name must not be one "
            f"of {', '.join(sorted(COLUMNS))}, the columns of what was measured"
        )
    found: dict[str, Point] = {}
    try:
        for common, given in _combinations(spec, known):
            full = declared.validate(notebook, common | given)
            fingerprint = runner.fingerprint(notebook, full)
            words = "-".join(f"{name}={value}" for name, value in given.items())
            words = re.sub(r"[^\w.=+-]", "_", words, flags=re.ASCII)[:60]  # of files, everywhere
            name = "-".join(filter(None, [words, fingerprint[:12]]))
            found.setdefault(fingerprint, Point(name, full, fingerprint))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return list(found.values())


def read_yaml(file: Path) -> Any:
    """What a YAML file says.

    Raises
    ------
    ValueError
        If it cannot be read, or gives a key twice, of which YAML would take the last.
    """
    import yaml

    class Strict(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            lines: dict[Any, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                # `<<` merges other mappings, whose keys may be overridden.
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    name = self.construct_object(key)
                    if name in lines:
                        where = f"in lines {lines[name]} and {line}"
                        raise yaml.YAMLError(f"{name!r} is given twice, {where}")
                    lines[name] = line
            return node

    try:
        return yaml.load(file.read_text("utf-8-sig"), Strict)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from error


def _combinations(
    spec: Any, known: dict[str, Declared]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
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
        yield _typed(common, known), _typed(some, known)


def _typed(values: dict[str, Any], known: dict[str, Declared]) -> dict[str, Any]:
    # Names that the notebook does not have go on as they are, to be refused with the right hint.
    return {
        name: known[name].from_yaml(value) if name in known else value
        for name, value in values.items()
    }
