"""Hashes of what is reached: moving and rewording change nothing, what runs changes them."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from robot_sizes import SMALL
from robot_sizes import TINY as ROBOT
from test_study import TINY

from dualdiff.experiments import provenance
from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.overlap import Diagnosis
from dualdiff.experiments.provenance import definitions_of, reached_by, version_of
from dualdiff.experiments.scenarios import cabinet
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import ScenarioTrial
from dualdiff.experiments.weighting import MapTrial, MethodTrial, WeightTrial
from dualdiff.publish import notebooks, project
from dualdiff.robot.rows import DataTrial
from dualdiff.robot.study import RobotTrial

# --- a package of three modules ------------------------------------------------------------------

MAKE = '''"""Makes."""
import math
from dualdiff import tools
from dualdiff.rooms.base import Base as Root, RATE

def unused():
    return 1

class Maker(Root):
    """A maker."""
    steps: int = RATE

    def make(self, x, other=None):
        # why
        hidden = [unused for unused in x]
        return tools.twice(x) + self.more(hidden)
'''
TOOLS = '''from dualdiff.experiments.store import keep
FACTOR = 2
TABLE = {"a": lambda x: x * FACTOR}
TABLE["b"] = TABLE["a"]

def twice(x):
    """Doubles."""
    return keep(TABLE["a"](x))

def idle(x):
    return x
'''
BASE = """RATE = 3

class Base:
    def more(self, x):
        def inner():
            return limit()
        return inner()

def limit():
    return 7
"""
STORE = "def keep(x):\n    return x\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dualdiff"
    for room in ("rooms", "experiments"):
        (folder / room).mkdir(parents=True)
    files = {
        "make.py": MAKE,
        "tools.py": TOOLS,
        "rooms/base.py": BASE,
        "experiments/store.py": STORE,
    }
    empty = dict.fromkeys(("__init__.py", "rooms/__init__.py", "experiments/__init__.py"), "")
    for name, text in {**files, **empty}.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(provenance, "FOLDER", folder)
    return folder


def reached() -> dict[str, str]:
    return reached_by(ast.parse("import dualdiff as dd\ndd.make.Maker()"))


def test_what_a_definition_reaches(package: Path) -> None:
    assert set(reached()) == {"Maker", "Base", "RATE", "twice", "TABLE", "FACTOR", "limit"}
    assert set(definitions_of("dualdiff.tools")) == {"FACTOR", "TABLE", "twice", "idle"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("make.py", '"""A maker."""', '"""Says something else."""'),
        ("make.py", "        # why\n", ""),
        ("make.py", "tools.twice(x) + self", "(tools.twice(\n            x)\n        + self"),
        ("make.py", "return 1", "return 2"),  # of what is not used: a variable has its name
        ("make.py", "import math\n", ""),
        ("tools.py", "return x\n", "return -x\n"),  # nobody asks for idle
        ("experiments/store.py", "return x", "return [x]"),  # keeps results, and decides none
    ],
)
def test_words_form_and_neighbours_do_not_count(
    package: Path, name: str, old: str, new: str
) -> None:
    before, path = reached(), package / name
    assert old in path.read_text()
    text = path.read_text().replace(old, new)
    path.write_text(text + "        )\n" if new.startswith("(") else text)
    assert reached() == before


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("make.py", "other=None", "other=0", "Maker"),
        ("make.py", "self.more(hidden)", "-self.more(hidden)", "Maker"),
        ("tools.py", "FACTOR = 2", "FACTOR = 2.0", "FACTOR"),
        ("tools.py", "x * FACTOR", "FACTOR * x", "TABLE"),
        ("tools.py", "keep(TABLE", "(TABLE", "twice"),
        ("rooms/base.py", "RATE = 3", "RATE: int = 3", "RATE"),
        ("rooms/base.py", "return 7", "return 8", "limit"),
    ],
)
def test_every_edit_of_what_is_reached_counts(
    package: Path, name: str, old: str, new: str, changed: str
) -> None:
    before, path = reached(), package / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    after = reached()
    assert {n for n in after if after[n] != before[n]} == {changed}


def test_moving_and_renaming_modules_changes_nothing(package: Path) -> None:
    before = reached()
    (package / "make.py").rename(package / "rooms" / "workshop.py")
    (package / "rooms" / "base.py").rename(package / "ground.py")
    moved = MAKE.replace("from dualdiff import tools", "import dualdiff.rooms.aid as tools")
    (package / "rooms" / "workshop.py").write_text(moved.replace("rooms.base", "ground"))
    twice = TOOLS[TOOLS.index("def twice") : TOOLS.index("def idle")]
    rest = "from dualdiff.experiments.store import keep\nfrom dualdiff.tools import TABLE\n"
    (package / "rooms" / "aid.py").write_text(rest + twice)  # one definition alone
    (package / "tools.py").write_text(TOOLS.replace(twice, ""))
    now = reached_by(ast.parse("from dualdiff.rooms import workshop as w\nw.Maker()"))
    assert now == before


def test_names_shared_by_two_places_are_one_entry(package: Path) -> None:
    one = definitions_of("dualdiff.rooms.base")["RATE"]
    (package / "again.py").write_text("from dualdiff.rooms import base\nRATE = base.RATE\n")
    both = definitions_of("dualdiff.again")["RATE"]
    assert both != one
    (package / "rooms" / "base.py").write_text(BASE.replace("RATE = 3", "RATE = 4"))
    assert definitions_of("dualdiff.again")["RATE"] not in (one, both)


def test_modules_named_in_texts_and_files_beside_them_count(package: Path) -> None:
    started = ast.parse("command = ['python', '-m', 'dualdiff.rooms.base']")
    (package / "rooms" / "style.css").write_text("a {}")
    before = reached_by(started)
    assert set(before) == {"RATE", "Base", "limit", "rooms/style.css"}
    (package / "rooms" / "style.css").write_text("b {}")
    assert reached_by(started) != before


def test_classes_of_others_count_by_what_they_inherit() -> None:
    class Mine(ScenarioTrial):
        pass

    assert version_of(Mine) == version_of(ScenarioTrial) != version_of(MethodTrial)
    assert definitions_of(dict, len) == {}


# --- what runs is reached ------------------------------------------------------------------------


class Seen:
    """The package's definitions that run, as names of what stands at the top of modules."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()

    def __enter__(self) -> "Seen":
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, *_: Any) -> None:
        self.codes.add(frame.f_code)

    @property
    def names(self) -> Iterator[tuple[str, str]]:
        for code in self.codes:
            path = Path(code.co_filename)
            if path.is_relative_to(provenance.FOLDER):
                module = path.relative_to(provenance.FOLDER).with_suffix("").parts
                name = code.co_qualname.partition(".")[0]
                if ".".join(module) not in provenance.LEFT_OUT and not name.startswith("<"):
                    yield ".".join(module), name


SHORT = replace(TINY, conditions=8, draws=50)
RUNS: dict[str, Any] = {
    "plain": ScenarioTrial(cabinet(), RECIPES["plain"], SHORT, 0, "joint"),
    "tuned": ScenarioTrial(cabinet(), RECIPES["tuned"], SHORT, 0, "lora_joint"),
    "replay": ScenarioTrial(cabinet(), RECIPES["tuned"], SHORT, 0, "replay"),
    "exact": ScenarioTrial(cabinet(), "exact", SHORT, 0, "joint"),
    "diagnosis": Diagnosis(cabinet(), RECIPES["tuned"], SHORT, 0, "joint"),
    "method": MethodTrial(cabinet(), "exact", SHORT, 0, "smc"),
    "map": MapTrial(cabinet(), RECIPES["plain"], SHORT, 0, "1, 0.5"),
    "weights": WeightTrial(cabinet(), RECIPES["tuned"], SHORT, 0, "learned constant"),
    "robot": RobotTrial(SMALL["object"], ROBOT, 0, "joint"),
    "rows": DataTrial(ROBOT, "ball, bin"),
}


@pytest.mark.parametrize("kind", RUNS)
def test_what_a_trial_runs_is_reached(kind: str, tmp_path: Path) -> None:
    trial, seen = RUNS[kind], Seen()
    with seen:
        trial.table(Store(tmp_path))
    # Asked when some package, used for the first time, looks for a module that is nowhere.
    ran = set(seen.names) - {("__init__", "_Lacking")}
    places = provenance._closure(p for root in trial.roots for p in provenance._places(root))
    assert len(ran) > 8 and not ran - places


def test_chapters_reach_what_they_show() -> None:
    for notebook, names in {
        "01_theory": {"joint", "exact_denoiser", "begin"},
        "04_robot_data": {"RobotTrial", "perform"},
        "08_learned_weights": {"learn", "widgets/js/weight_map.js"},
        "09_results": {"show_table", "readings/advice.yaml"},
        "12_your_data": {"compare", "recommend", "Model"},
        "12b_real_data": {"FlightsTrial", "neighbours"},
        "13_home_after_home": {"HomesTrial", "importance", "RoundsTrial"},
        "14_guidance_on_pictures": {"PictureTrial", "judged", "gallery"},
        "14b_two_controls": {"ControlTrial", "amdm", "video_adapter"},
        "14c_class_and_style": {"Gallery", "widgets/js/gallery.js"},
        "15_few_shots": {"Episodes", "SubjectTrial", "add_lora"},
        "16_spaces_and_stages": {"Latents", "Stage", "Autoencoder", "inpaint", "invert"},
        "17_other_experts": {"Energy", "twisted", "Equation", "distilled", "svg"},
        "tour": {"committed", "users", "dots"},
        "11_rerun": {"record", "sweep_trials"},  # of the notebook that it sweeps
    }.items():
        found = reached_by(notebooks.code(project.find_notebook(notebook)))
        assert names <= set(found), (notebook, names - set(found))
        assert not {"bench", "assembled"} & set(found)
