"""What ``make`` and ``make.py`` do about environments: any that works is used, others are named."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path, PureWindowsPath

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Makefile", "make.py", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "pyproject.toml").touch()
    return folder


def make(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    ours = ("PYTHON", "ARGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the make that runs the tests
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    environment["PIP_NO_INDEX"] = "1"
    return subprocess.run(
        ["make", *words], cwd=project, env=environment, capture_output=True, text=True
    )


def environment(project: Path) -> Path:
    """An environment without pip, as uv makes them; returns its interpreter."""
    venv.create(project / ".venv", with_pip=False, symlinks=True)
    return project / ".venv" / "bin" / "python"


def with_pip(project: Path) -> None:
    """Something in the place of pip, which would ask a network: it says what it is asked."""
    (site,) = (project / ".venv" / "lib").glob("python*/site-packages")
    (site / "pip").mkdir()
    (site / "pip" / "__main__.py").write_text("import sys; print(*sys.argv[1:])")


def install(project: Path) -> None:
    """What an installation leaves: the package of this folder, a command, and the stamp."""
    package = project / "dualdiff"
    package.mkdir()
    (package / "__init__.py").touch()
    (site,) = (project / ".venv" / "lib").glob("python*/site-packages")
    (site / "ours.pth").write_text(f"{project}\n")
    command = project / ".venv" / "bin" / "dualdiff"
    command.write_text(f"#!{project}/.venv/bin/python\nprint('dualdiff runs')\n")
    command.chmod(0o755)
    (project / ".venv" / ".installed").touch()


def test_an_environment_without_pip_gets_one(project: Path) -> None:
    python = environment(project)
    done = make(project, "install")  # which fails after that, as there is nothing to install
    assert done.returncode and not (project / ".venv" / ".installed").exists()
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


@pytest.mark.parametrize("checkout", [True, False])
def test_what_is_installed_is_this_version(checkout: bool, project: Path) -> None:
    environment(project)
    install(project)
    with_pip(project)
    (project / ".venv" / ".installed").unlink()
    asked = "--editable .[book,labs,sweep]"
    if not checkout:  # but a folder of `dualdiff init`
        (project / "pyproject.toml").unlink()
        (project / "dualdiff.json").write_text('{"version": "7.8"}')
        asked = "dualdiff[book,labs,sweep]==7.8"
    for words in ("some minutes the first time", ""):
        done = make(project, "install")
        assert done.returncode == 0, done.stderr
        assert words in done.stdout and (asked in done.stdout) == bool(words)
    (project / "constraints.txt").touch()
    assert f"--constraint constraints.txt {asked}" in make(project, "install").stdout


def test_programs_of_an_environment_on_windows() -> None:
    spec = spec_from_file_location("make_py", ROOT / "make.py")
    assert spec and spec.loader
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = PureWindowsPath("C:/Users/me/dualdiff/.venv")
    found = script.program("python", folder, "nt")
    assert str(found) == r"C:\Users\me\dualdiff\.venv\Scripts\python.exe"
    assert script.program("dualdiff", Path("v"), "posix") == Path("v", "bin", "dualdiff")


def test_an_environment_that_cannot_get_pip_is_named(project: Path) -> None:
    environment(project)
    (site,) = (project / ".venv" / "lib").glob("python*/site-packages")
    (site / "ensurepip.pth").write_text("import sys; sys.modules['ensurepip'] = None\n")
    done = make(project, "install")
    assert done.returncode != 0 and "has no pip" in done.stderr
    assert not done.stdout and not (project / ".venv" / ".installed").exists()


def test_an_installation_that_works_is_used(project: Path) -> None:
    environment(project)
    install(project)
    done = make(project, "book", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "dualdiff runs"


def moved(project: Path) -> Path:
    return project.rename(project.with_name("elsewhere"))


def copied(project: Path) -> Path:
    there = project.with_name("elsewhere")
    shutil.copytree(project, there, symlinks=True)
    return there


def without_python(project: Path) -> Path:
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("gone")
    return project


def upgraded(project: Path) -> Path:
    """The interpreter is a newer one, which looks for packages in another folder."""
    (folder,) = (project / ".venv" / "lib").glob("python*")
    folder.rename(folder.with_name("python3.0"))
    return project


@pytest.mark.parametrize("change", [moved, copied, without_python, upgraded])
def test_an_environment_that_broke_is_named_and_kept(change, project: Path) -> None:
    environment(project)
    install(project)
    there = change(project)
    done = make(there, "book")
    assert done.returncode != 0 and "dualdiff runs" not in done.stdout
    assert ".venv" in done.stderr and "remove it" in done.stderr
    assert (there / ".venv" / ".installed").exists()


def test_another_python_than_the_one_asked_for_is_said(project: Path) -> None:
    environment(project)
    install(project)
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\necho 3 99\n")
    python.chmod(0o755)
    done = make(project, "book", f"PYTHON={sys.executable}")
    assert done.returncode != 0 and sys.executable in done.stderr
    assert make(project, "book").returncode == 0


def test_what_is_no_environment_is_not_removed(project: Path) -> None:
    (project / ".venv").mkdir()
    (project / ".venv" / "mine").touch()
    done = make(project, "book")
    assert done.returncode != 0 and ".venv" in done.stderr
    assert (project / ".venv" / "mine").exists()


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("keep", ["", "--keep-store", "--keep"])
def test_clean_removes_all_that_was_built_and_keeps_what_it_is_told_to(
    keep: str, installed: bool, project: Path
) -> None:
    if installed:
        environment(project)
        install(project)
    store, built = project / "_build" / "store", project / "_build" / "html"
    for folder in (store, built, project / "_build" / ".hidden", project / "tests"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (project / "dualdiff").mkdir(exist_ok=True)
    for _ in range(2):  # also where there is nothing left to remove
        done = make(project, "clean", f"ARGS={keep}")
        assert done.returncode == 0, done.stderr
        assert (store / "file").exists() == bool(keep)
        left = [path.name for path in project.glob("_build/*")]
        assert left == ["store"] * bool(keep)
        assert (project / "_build").exists() == bool(keep)
        assert (project / "tests" / "file").exists()


def test_clean_keeps_a_store_that_the_command_says_it_kept(project: Path) -> None:
    """The whole way: the command of this package, called by make."""
    shutil.copy(ROOT / "_config.yml", project)
    shutil.copy(ROOT / "_toc.yml", project)
    (project / ".venv" / "bin").mkdir(parents=True)
    command = project / ".venv" / "bin" / "dualdiff"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m dualdiff.publish.cli "$@"\n')
    command.chmod(0o755)
    kept = project / "_build" / "store" / "network"
    gone = project / "_build" / "html" / "index.html"
    for path in (kept, gone):
        path.parent.mkdir(parents=True)
        path.touch()
    for name in ("tests", "dualdiff"):
        (project / name).mkdir()
    done = make(project, "clean", "ARGS=--keep-store")
    assert done.returncode == 0 and "kept _build/store" in done.stdout, done.stderr
    assert kept.exists() and not gone.exists()
