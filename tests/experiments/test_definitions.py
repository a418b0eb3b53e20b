"""Keys of the user's own code: every edit that it reaches is another key, and nothing else is."""

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff import denoisers, process, samplers
from dualdiff.experiments import scenarios
from dualdiff.experiments.definitions import digest, own
from dualdiff.experiments.lens import Lens
from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.rules import RULES
from dualdiff.experiments.scenarios import law
from dualdiff.experiments.scenes import SCENES
from dualdiff.regions import Box, Disc, Region

SOURCE = """
import enum, functools, math
from dataclasses import dataclass, field
import numpy as np
import torch
from dualdiff.regions import Region

SCALE = 2.0
TABLE = torch.arange(3.0)
KNOTS = np.linspace(0, 1, 4)
NAMES = {"b", "a", "c"}
SETTINGS = {"shift": [1, 2, {"deep": 3}]}

def deepest(x):
    return x * SCALE

def helper(x, factor=1.5, *, power=2):
    return torch.stack([deepest(v) for v in (x * factor) ** power])

def shifted(by):
    return lambda x: x + by

shift = shifted(0.25)
partly = functools.partial(shifted, 0.75)

class Side(enum.Enum):
    LEFT = 1

class Mixin:
    def turned(self, x):
        return -x

@dataclass(frozen=True)
class Base(Region):
    sectors: int = 4
    parts: list = field(default_factory=lambda: [5])
    dim, n_cells, middle = 2, 1, (0.0, 0.0)

    def _distance(self, u):
        return u.norm(dim=-1)

    def _cells(self, u):
        return torch.zeros(u.shape[:-1], dtype=torch.long)

class Mine(Mixin, Base):
    @functools.lru_cache
    def rare(self):
        def inner():
            return 11 if self.sectors in {6, 7} else KNOTS[0]
        return inner()

    @property
    def wide(self):
        return Side.LEFT.value + len(NAMES) + len(SETTINGS) + 13

    @functools.cached_property
    def remembered(self):
        return 17

    @staticmethod
    def plain(x):
        return shift(partly()(x)) + TABLE.sum()

    def _draw(self, n, generator):
        x = torch.rand(n, 2, generator=generator)
        return self.turned(helper(x)) + math.pi + self.wide + self.remembered

law = Mine()
"""
EDITS = [
    ("SCALE = 2.0", "SCALE = 2.5"),
    ("SCALE = 2.0", "SCALE = 2"),
    ("torch.arange(3.0)", "torch.arange(3.0) + 1e-6"),
    ("torch.arange(3.0)", "torch.arange(3)"),
    ("np.linspace(0, 1, 4)", "np.linspace(0, 1, 5)"),
    ('"b", "a"', '"b", "d"'),
    ('"deep": 3', '"deep": 4'),
    ("x * SCALE", "x + SCALE"),
    ("factor=1.5", "factor=1.6"),
    ("power=2", "power=3"),
    ("[deepest(v)", "[-deepest(v)"),
    ("shifted(0.25)", "shifted(0.26)"),
    ("x + by", "x - by"),
    ("(shifted, 0.75)", "(shifted, 0.76)"),
    ("LEFT = 1", "LEFT = 2"),
    ("return -x", "return 1 - x"),
    ("class Mixin:", "class Mixin(Region):"),
    ("sectors: int = 4", "sectors: int = 5"),
    ("lambda: [5]", "lambda: [6]"),
    ("dim, n_cells, middle = 2, 1", "dim, n_cells, middle = 2, 2"),
    ("u.norm(dim=-1)", "u.norm(dim=-1, p=1)"),
    ("11 if", "12 if"),
    ("{6, 7}", "{6, 8}"),
    ("+ 13", "+ 14"),
    ("return 17", "return 18"),
    ("TABLE.sum()", "TABLE.mean()"),
    ("math.pi", "math.e"),
    ("torch.rand(", "torch.randn("),
    ("class Mine(Mixin, Base)", "class Mine(Base, Mixin)"),
    ("Mine()", "Mine(sectors=9)"),
    ("Mine()", "Mine(parts=[5, 5])"),
]


def made(source: str, name: str = "__main__") -> Any:
    """The law of a source as a notebook would make it: there is no file."""
    space: dict[str, Any] = {"__name__": name}
    exec(compile(source, "<cell>", "exec"), space)
    return space["law"]


@pytest.mark.parametrize(("old", "new"), EDITS, ids=[new for _, new in EDITS])
def test_an_edit_of_anything_that_a_law_reaches_is_another_key(old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert digest(made(SOURCE)) != digest(made(SOURCE.replace(old, new)))


def test_a_definition_made_anew_has_the_same_key() -> None:
    """Wherever it stands, whatever is said beside it, and before and after it is used."""
    first = made(SOURCE)
    before = digest(first)
    spaced = "\n# a cell further up\nother = 1\n" + SOURCE.replace("):\n", "):  # why\n\n")
    assert digest(made(spaced)) == before
    first._draw(3, torch.Generator().manual_seed(0))
    assert law(first) == law(made(SOURCE))
    assert digest(first) == before
    assert digest(made(SOURCE, name="builtins")) == before  # exec without a name gives such a one


def test_the_key_is_the_same_in_another_process() -> None:
    code = f"""
from dualdiff.experiments.definitions import digest
space = {{"__name__": "__main__"}}
exec({SOURCE!r}, space)
print(digest(space["law"]))
"""
    for seed in "12":
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        found = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
        assert found.strip() == digest(made(SOURCE))


data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.lists(st.integers(-9, 9), max_size=3).map(np.array)
    | st.lists(st.integers(-9, 9), max_size=3).map(lambda x: torch.tensor(x, dtype=torch.int64)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=6,
)


def said(value: Any) -> str:
    """A value in words that tell types apart."""
    if isinstance(value, dict):
        return f"dict {[(k, said(v)) for k, v in value.items()]}"
    if isinstance(value, frozenset):
        return f"set {sorted(value)}"
    if isinstance(value, list | tuple):
        return f"{type(value)} {[*map(said, value)]}"
    kind = getattr(value, "dtype", "")
    return f"{type(value)} {kind} {value.tolist() if kind else value!r}"


@given(data, data)
def test_data_and_what_holds_them_have_equal_keys_where_they_are_equal(one: Any, two: Any) -> None:
    def closed(value: Any) -> Any:
        return lambda: value

    def default(value: Any) -> Any:
        return lambda x=value: x

    def from_outside(value: Any) -> Any:
        exec("def f(): return VALUE", space := {"VALUE": value})
        return space["f"]

    def attribute(value: Any) -> Any:
        return type("Own", (), {"value": value})

    for way in (lambda value: value, closed, default, from_outside, attribute):
        assert (digest(way(one)) == digest(way(two))) == (said(one) == said(two))


def forget() -> None:
    """Let the package of the user's own be imported anew."""
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's own with a helper, imported from a folder of theirs."""
    folder = tmp_path / "my_lab"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "tools.py").write_text("def stretch(x):\n    return 2 * x\n")
    (folder / "laws.py").write_text("from . import tools\n\nstretch = tools.stretch\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder / "tools.py"
    forget()


WAYS = {
    "name": "from my_lab.laws import stretch\ndef law(x): return stretch(x)",
    "attribute": "from my_lab import tools\ndef law(x): return tools.stretch(x)",
    "chain": "import my_lab.laws\ndef law(x): return my_lab.laws.tools.stretch(x)",
    "inside": "def law(x):\n    from my_lab.tools import stretch\n    return stretch(x)",
    "whole inside": "def law(x):\n    import my_lab.tools\n    return my_lab.tools.stretch(x)",
    "by its name": "from my_lab import tools\ndef law(x): return getattr(tools, 'str' + 'etch')(x)",
    "in a table": "from my_lab import tools\nALL = [tools]\ndef law(x): return ALL[0].stretch(x)",
}


@pytest.mark.parametrize("way", WAYS)
def test_helpers_in_modules_of_ones_own_count(module: Path, way: str) -> None:
    def key() -> str:
        forget()
        return digest(made(WAYS[way]))

    first = key()
    assert key() == first
    module.write_text("# said more\n" + module.read_text())
    assert key() == first
    module.write_text(module.read_text().replace("2 * x", "3 * x"))
    assert key() != first


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        (x for x in ()),
        made("def law(): return eval('1')"),
        made("def law(): return open('law.txt').read()"),
        made("def law(): return globals()['SCALE']"),
        made("import importlib\ndef law(): return importlib.import_module('my' + 'law')"),
        made("import threading\nlock = threading.Lock()\ndef law(): return lock.locked()"),
        np.frompyfunc(lambda x: x, 1, 1),
    ],
    ids="lock generator eval open globals import_module global ufunc".split(),
)
def test_what_cannot_be_told_is_refused_with_a_way_out(value: Any) -> None:
    with pytest.raises(ValueError, match="store_key"):
        digest(value)


def test_what_a_class_says_of_itself_stands_for_it() -> None:
    def told(version: int, name: str = "Own") -> Any:
        class Own:
            def __init__(self) -> None:
                self.lock = threading.Lock()

            def store_key(self) -> list[Any]:
                return ["law", version]

        Own.__name__ = name
        return Own()

    assert digest(told(1)) == digest(told(1)) != digest(told(2))
    assert digest(told(1)) != digest(told(1, "Other"))


def test_definitions_that_reach_themselves_end() -> None:
    source = "def law(n): return n and other(n)\ndef other(n): return law(n - {})"
    assert digest(made(source.format(1))) == digest(made(source.format(1)))
    assert digest(made(source.format(1))) != digest(made(source.format(2)))
    around: list[Any] = [1]
    around.append(around)
    assert digest(around) == digest(around)


def test_nothing_of_ours_is_special_and_all_of_it_can_be_told() -> None:
    """What comes with the package has no definition in keys, and code may use all of it."""
    assert own(Box((0.0,), (1.0,)), Disc(1.0), *RECIPES.values()) == {}
    for registry in (RULES, METHODS, SCENES, RECIPES):
        assert len({digest(entry) for entry in registry.values()}) == len(registry)
    for part in (process, denoisers, samplers, scenarios):
        for name, value in vars(part).items():
            if getattr(value, "__module__", "") == part.__name__:
                digest(made(f"from {part.__name__} import {name}\ndef law(): return {name}"))


class Own(Region):  # not a dataclass
    dim, n_cells, middle = 3, 1, (0.0, 0.0, 0.0)
    rings = sectors = divisions = height_tolerance = 1.0

    def __init__(self, **values: float) -> None:
        vars(self).update(values)

    def _draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 3, generator=generator)

    def _distance(self, u: torch.Tensor) -> torch.Tensor:
        return u.norm(dim=-1)

    def _cells(self, u: torch.Tensor) -> torch.Tensor:
        return torch.zeros(u.shape[:-1], dtype=torch.int64)


class Wide(Disc):
    """Ours, with another way to draw."""

    def _draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return 2 * super()._draw(n, generator)


@pytest.mark.parametrize("name", ["height_tolerance", "divisions", "rings", "sectors", "other"])
def test_no_field_of_a_law_of_ones_own_is_special(name: str) -> None:
    assert law(Own(**{name: 1.0})) == law(Own(**{name: 1.0})) != law(Own(**{name: 2.0}))


def test_a_law_made_of_ours_is_not_taken_for_ours() -> None:
    assert law(Wide(1.0)) != {**law(Disc(1.0)), "type": "Wide"}
    assert law(Wide(1.0, rings=2)) != law(Wide(1.0, rings=3))
    assert law(Lens(Wide(1.0), Disc(1.0))) != law(Lens(Disc(1.0), Disc(1.0)))
