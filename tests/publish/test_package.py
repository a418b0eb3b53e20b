"""What is built and installed: a wheel in an environment with what the module alone needs."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from code_lines import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical

from dualdiff import EXTRAS, __version__
from dualdiff.experiments.provenance import revision
from dualdiff.publish import init as initial
from dualdiff.publish.init import FILES, init
from dualdiff.publish.project import build_stamp

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BASE, OPTIONAL = PROJECT["dependencies"], PROJECT["optional-dependencies"]
DISTRIBUTIONS = {
    "PIL": "pillow",
    "mpl_toolkits": "matplotlib",
    "otter": "otter-grader",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Of modules that have another name."""
ALONE = """
import importlib, importlib.util, pathlib, pkgutil
import torch
import dualdiff as dd
from dualdiff.networks import Architecture

assert "site-packages" in dd.__file__, dd.__file__
for module in pkgutil.iter_modules(dd.__path__):
    if not module.ispkg:
        importlib.import_module(f"dualdiff.{module.name}")

def network(seed):
    weights = torch.Generator().manual_seed(seed)
    return dd.MLP(process, Architecture(width=8, depth=0), weights)

process = dd.Process.linear(5)
c, generator = torch.zeros(4, process.dc), torch.Generator().manual_seed(0)
y = dd.sample(dd.joint(network(0), network(1)), c, generator, draws=3)
assert y.shape == (4, 3, process.dy)
for name, words in {"plots": "data", "pages": "data", "Table": "data", "judge": "data"}.items():
    try:
        getattr(dd, name)
    except ModuleNotFoundError as error:
        assert str(error).endswith(f"pip install 'dualdiff[{words}]'"), error
    else:
        raise AssertionError(f"{name} is there")
try:
    from dualdiff.experiments import store
except ModuleNotFoundError as error:
    assert "needs pandas" in str(error) and error.name == "pandas"
assert importlib.util.find_spec("pandas") is None  # others are told what Python tells them
"""


def closure(asked: Iterable[str], *, without: str = "dualdiff") -> set[str]:
    """Names of all installed distributions that requirements bring along."""
    todo, seen = [*asked], set[tuple[str, str]]()
    while todo:
        one = Requirement(todo.pop())
        name = canonical(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in seen or (one.marker and not one.marker.evaluate({"extra": ""})):
                continue
            seen.add((name, extra))
            if name == without:
                todo += OPTIONAL[extra] if extra else BASE
                continue
            try:
                lines = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # of an extra that is not here
                lines = []
            for line in lines:
                inner = Requirement(line)
                wanted = inner.marker is None or inner.marker.evaluate({"extra": extra})
                inner.marker = None
                todo += [str(inner)] * wanted
    return {name for name, _ in seen}


def called(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program that finds what is installed for it and nothing else."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(words, cwd=cwd, env=own, capture_output=True, text=True)


def python(*words: str | Path, cwd: Path, interpreter: str | Path = sys.executable) -> str:
    """What a program of Python prints; it must not fail."""
    done = called(interpreter, *words, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive of sources, and the wheel that is built of that."""
    folder = tmp_path_factory.mktemp("built")
    source, dist = folder / "source", folder / "dist"
    litter = shutil.ignore_patterns(".git", ".venv", "_store", "*cache*", "*.egg-info", "build")
    shutil.copytree(ROOT, source, ignore=litter)
    for name in ("_build/html", "notebooks/.ipynb_checkpoints", "tests"):
        (source / name).mkdir(parents=True, exist_ok=True)
        (source / name / "litter-checkpoint.ipynb").touch()
    (source / "notebooks" / "02_round_table.ipynb").touch()
    call = "import sys; from setuptools import build_meta as b; b.build_{}(sys.argv[1])"
    python("-c", call.format("sdist"), dist, cwd=source)
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    python("-c", call.format("wheel"), dist, cwd=folder / f"dualdiff-{__version__}")
    return dist


@pytest.fixture(scope="module")
def alone(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that sees the wheel and the dependencies of the module alone."""
    folder = tmp_path_factory.mktemp("alone") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure(BASE):
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    (wheel,) = built.glob("*.whl")
    words = ("--python", folder, "install", "--quiet", "--no-deps", "--no-index", wheel)
    python("-m", "pip", *words, cwd=folder)
    return folder / "bin"


def test_the_module_alone_needs_no_tables_and_no_pages(alone: Path, tmp_path: Path) -> None:
    python("-c", ALONE, cwd=tmp_path, interpreter=alone / "python")


def test_the_command_alone_writes_the_notebooks(alone: Path, tmp_path: Path) -> None:
    def dualdiff(*words: str) -> subprocess.CompletedProcess[str]:
        return called(alone / "dualdiff", *words, cwd=tmp_path)

    assert dualdiff("--version").stdout == f"dualdiff {__version__}\n"
    for command, words in (
        ("list", "pip install 'dualdiff[book]'"),
        ("book", "pip install 'dualdiff[book]'"),
        ("results --list", "pip install 'dualdiff[data]'"),
        ("clean", "dualdiff init FOLDER"),
    ):
        done = dualdiff(*command.split())
        assert done.returncode and words in done.stderr, command
        assert done.stderr.count("\n") == 1
    done = dualdiff("init", "mine")
    assert done.returncode == 0, done.stderr
    assert {*FILES} == {path.name for path in (tmp_path / "mine").iterdir()}
    for name in ("notebooks/01_theory.ipynb", "book/results/cabinet.csv", "_config.yml"):
        assert (tmp_path / "mine" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not [*(tmp_path / "mine").rglob("*litter*"), *(tmp_path / "mine").rglob("02_round*")]
    words = "from dualdiff.experiments.provenance import PROJECT; print(PROJECT)"
    inside = tmp_path / "mine" / "notebooks"
    assert python("-c", words, cwd=inside, interpreter=alone / "python").split() == [
        str(tmp_path / "mine")
    ]


def test_wheel_and_archive_hold_what_they_should(built: Path) -> None:
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        known = json.loads(opened.read("dualdiff/project/dualdiff.json"))
    assert known["version"] == __version__ and known["revision"]
    assert {name.split("/")[0] for name in names} == {
        "dualdiff",
        f"dualdiff-{__version__}.dist-info",
    }
    ours = [path for path in (ROOT / "dualdiff").rglob("*") if path.is_file()]
    ours = [path for path in ours if "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in ours} <= {*names}
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    assert {"pyproject.toml", "setup.py", *FILES} <= inside
    for name in (*inside, *names):
        assert not re.search(r"(^|/)(tests|_build|_store|__pycache__)(/|$)|litter", name)


def test_an_index_would_take_them(built: Path) -> None:
    pytest.importorskip("twine")
    python("-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)


def test_requirements_are_those_of_the_module_and_the_book() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    ours = [*BASE, *OPTIONAL["data"], *OPTIONAL["book"]]
    assert {*ours} - {"dualdiff[data]"} == {line for line in lines if not line.startswith("#")}


def test_an_extra_brings_what_it_is_named_for() -> None:
    """All that is imported is a dependency, or known as missing with the extra that has it."""
    imported = set[str]()
    for path in (ROOT / "dualdiff").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module))
    imported = {name.partition(".")[0] for name in imported}
    base = {Requirement(line).name for line in BASE}
    assert imported - {"dualdiff", "__future__", *sys.stdlib_module_names} - base <= {*EXTRAS}
    bring = {extra: closure([f"dualdiff[{extra}]"]) for extra in {*EXTRAS.values()}}
    for name, extra in EXTRAS.items():
        assert canonical(DISTRIBUTIONS.get(name, name)) in bring[extra], name


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ValueError, match="must be a new or an empty one"):
            init(folder)
    assert [*tmp_path.iterdir()] == [tmp_path / "mine"]


@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_half_written(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    if there:
        folder.mkdir()
    rename, renamed = Path.rename, []

    def full(path: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == (3 if there else 1):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ValueError, match="must be a new or an empty one .* No space left"):
        init(folder)
    assert [*tmp_path.iterdir()] == [folder] * there and not [*folder.glob("*")]
    init(folder)
    assert {path.name for path in folder.iterdir()} == {
        name for name in FILES if (ROOT / name).exists() or name == initial.STAMP
    }


def test_a_build_says_what_it_is_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86399")
    stamp = build_stamp()
    assert (stamp["version"], stamp["date"]) == (__version__, "1970-01-01")
    assert stamp["revision"] == revision()
    init(tmp_path / "mine")
    assert revision(tmp_path / "mine") == stamp["revision"]
