"""What ``make`` does, without make: ``python make.py book`` and ``python make.py test``.

The environment ``.venv`` is made beside this file, with the tested versions (``constraints.txt``),
and the command runs in it. Python is enough, on Windows too, where ``py make.py book`` is the line.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
NEEDS = ("requirements.txt", "constraints.txt", "pyproject.toml", "dualdiff.json")
"""What an installation is made from; it is made anew when one of them is newer."""
LEAST = (3, 11)
LITTER = (".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis")
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "dualdiff"),
    ("lint-imports", "--no-logo"),
    ("python", "-m", "pytest", *"--numprocesses 2 --dist loadfile --no-loadscope-reorder".split()),
)
COMMANDS = {
    "book": [("dualdiff", "book")],
    "test": CHECKS,
    "lab": [("jupyter", "lab", "--notebook-dir=notebooks")],
    "labs": [("dualdiff", "labs")],
    "grade": [("dualdiff", "grade")],
    "bench": [("python", "tests/widget_speed.py"), ("python", "tests/bench.py")],
    "install": [],
}
"""Programs of the environment, one after the other; the last one gets the arguments."""
RECENT = f"import sys; sys.exit(sys.version_info < {LEAST})"
KIND = "import sys; print(*sys.version_info[:2])"
OURS = "import dualdiff, os, sys; assert os.path.samefile(os.path.dirname(dualdiff.__file__), {!r})"


def program(name: str, folder: Path = VENV, system: str = os.name) -> Path:
    """Where an environment has a program; ``system`` is "nt" on Windows."""
    return folder / "Scripts" / f"{name}.exe" if system == "nt" else folder / "bin" / name


def runs(name: str, *words: str) -> bool:
    """Whether a program of the environment ends well; what it says is not shown."""
    try:
        return not subprocess.run([str(program(name)), *words], capture_output=True).returncode
    except OSError:
        return False


def call(name: str, *words: str) -> int:
    """Run a program of the environment; Windows' own encoding is not that of our files."""
    environment = {**os.environ, "PYTHONUTF8": "1"}
    with subprocess.Popen([str(program(name)), *words], cwd=ROOT, env=environment) as child:
        # Ctrl-C reaches the program itself; a request to end is handed on.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        return child.wait()


def unfit(why: str) -> NoReturn:
    """An environment that will not do is named, and never removed: it may be somebody's."""
    sys.exit(f".venv {why}: remove it, and try again")


def check(this_python: bool) -> None:
    """Installations break when their folder is moved or copied, or when their Python goes."""
    if not (VENV / "pyvenv.cfg").exists():
        return
    if not runs("python", "-c", RECENT):
        unfit("has no Python 3.11 or newer that runs")
    ours = OURS.format(str(ROOT / "dualdiff")) if (ROOT / "pyproject.toml").exists() else "1"
    sound = (VENV / ".installed").exists()
    if sound and not (runs("python", "-I", "-c", ours) and runs("dualdiff", "--version")):
        unfit("was made in another folder or by another Python")
    if this_python:
        kind = subprocess.check_output([str(program("python")), "-c", KIND], text=True)
        if kind.split() != [str(part) for part in sys.version_info[:2]]:
            unfit(f"has another version of Python than {sys.executable}")


def make() -> None:
    """Make the environment, if it is not there."""
    if (VENV / "pyvenv.cfg").exists():
        return
    if VENV.exists():
        unfit("is not an environment that Python made")
    if sys.version_info < LEAST:
        sys.exit(f"dualdiff needs Python 3.11 or newer; {sys.executable} is older")
    if subprocess.call([sys.executable, "-m", "venv", str(VENV)]):
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(1)


def package(extras: str) -> list[str]:
    """What pip is asked for: this checkout, or the version of which ``dualdiff init`` wrote."""
    if (ROOT / "pyproject.toml").exists():
        return ["--editable", f".[{extras}]"]
    known = json.loads((ROOT / "dualdiff.json").read_text("utf-8"))
    return [f"dualdiff[{extras}]=={known['version']}"]


def install(stamp: Path, extras: str, words: str) -> None:
    """Install what is missing; a stamp says that this is newer than what it was made from."""
    needed = [ROOT / name for name in NEEDS if (ROOT / name).exists()]
    if stamp.exists() and stamp.stat().st_mtime >= max(path.stat().st_mtime for path in needed):
        return
    # Some tools make environments without pip.
    if not (runs("python", "-m", "pip", "--version") or runs("python", "-m", "ensurepip")):
        unfit("has no pip and cannot get it")
    print(words, flush=True)
    pip = "-m pip install --quiet --disable-pip-version-check --constraint constraints.txt"
    if code := call("python", *pip.split(), *package(extras)):
        sys.exit(code)
    stamp.touch()


def clean(words: list[str]) -> None:
    """Remove what was built, but not the environment; the command may be missing."""
    if program("dualdiff").exists():
        call("dualdiff", "clean", *words)
    keep = any("--keep-store".startswith(word) for word in words if len(word) > 2)
    for path in (ROOT / "_build").glob("*"):
        if not (keep and path.name == "store"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if (ROOT / "_build").is_dir() and not any((ROOT / "_build").iterdir()):
        (ROOT / "_build").rmdir()
    litter = [*map(ROOT.joinpath, LITTER), ROOT / "build", ROOT / "dist", *ROOT.glob("*.egg-info")]
    for name in ("dualdiff", "tests"):
        litter += (ROOT / name).rglob("__pycache__")
    for path in litter:
        shutil.rmtree(path, ignore_errors=True)


def main(words: list[str]) -> int:
    """Run a command and return its exit code."""
    this_python = words[:1] == ["--this-python"]
    command, *rest = words[this_python:] or ["--help"]
    if command == "clean":
        clean(rest)
        return 0
    if command not in COMMANDS:
        print(f"usage: python make.py {{{','.join([*COMMANDS, 'clean'])}}} [ARGUMENT ...]")
        return 0 if command in ("-h", "--help") else 2
    if command in ("test", "bench") and not (ROOT / "tests").is_dir():
        sys.exit(f"{command} is for the checkout of dualdiff: there are no tests here")
    check(this_python)
    make()
    some = "Installing into .venv: some minutes the first time."
    install(VENV / ".installed", "book,labs,sweep", some)
    if command in ("test", "bench"):
        install(VENV / ".installed-dev", "dev", "Installing what the tests need.")
    for index, (name, *given) in enumerate(COMMANDS[command], 1):
        if code := call(name, *given, *rest * (index == len(COMMANDS[command]))):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
