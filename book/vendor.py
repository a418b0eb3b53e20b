"""Renew the scripts and fonts that the book carries, so that its pages ask nothing of a network.

They stand in ``book/assets/vendor``, each package in a folder of its own with its licence, exactly
as published, and ``SHA256SUMS`` beside them says what each file must be::

    python book/vendor.py           # fetch the versions below anew, with npm and pip
    python book/vendor.py --check   # compare the files with the checksums; needs no network

To move to another version, change it below and run this; ``git diff`` on ``SHA256SUMS`` then shows
which files changed.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

FOLDER = Path(__file__).parent / "assets" / "vendor"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Package:
    """Files of one published package.

    Parameters
    ----------
    registry : str
        ``"npm"`` or ``"pypi"``.
    name, version : str
    files : dict of str to str
        Where each file of the package goes, below ``FOLDER``: a pattern of paths in the package to
        a file, or to a folder, which ends in ``/`` and gets them by their names.
    """

    registry: str
    name: str
    version: str
    files: dict[str, str]


PACKAGES = (
    # Loads anywidget's module, which is AMD, for the next one.
    Package("npm", "requirejs", "2.3.8", {"package/require.js": "requirejs/"}),
    # Shows the stored state of ipywidgets without a kernel; loads the fonts for icons in them.
    Package(
        "npm",
        "@jupyter-widgets/html-manager",
        "1.0.15",
        {
            "package/dist/embed-amd.js": "html-manager/",
            "package/dist/embed.js.LICENSE.txt": "html-manager/LICENSE-bundled.txt",
            "package/dist/*.woff2": "html-manager/",
        },
    ),
    # html-manager is published without its licence, which is that of its repository, ipywidgets.
    Package(
        "pypi", "ipywidgets", "8.1.9", {"*.dist-info/licenses/LICENSE": "html-manager/LICENSE"}
    ),
    Package(
        "npm",
        "@fortawesome/fontawesome-free",
        "5.15.4",
        {"package/LICENSE.txt": "html-manager/LICENSE-fonts.txt"},
    ),
    Package(
        "pypi",
        "anywidget",
        "0.11.0",
        {
            "anywidget/nbextension/index.js": "anywidget/",
            "*.dist-info/licenses/LICENSE": "anywidget/",
        },
    ),
    # Of MathJax's bundles the smallest with every extension of TeX in it: the smaller ones load
    # some of them when a formula first needs them.
    Package(
        "npm",
        "mathjax",
        "3.2.2",
        {
            "package/es5/tex-chtml-full.js": "mathjax/",
            "package/es5/output/chtml/fonts/woff-v2/*": "mathjax/output/chtml/fonts/woff-v2/",
            "package/LICENSE": "mathjax/",
        },
    ),
)

# Its package holds no licence, only the name of one: the text was put here by hand.
KEPT = ("requirejs/LICENSE",)


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below ``folder`` but the list of them, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def problems(folder: Path = FOLDER) -> list[str]:
    """What in ``folder`` is not as its ``SHA256SUMS`` says: one sentence per file."""
    lines = (folder / SUMS).read_text("utf-8").splitlines()
    wanted = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    found = sums(folder)
    return [
        f"{name} is {'missing' if name not in found else 'not in ' + SUMS}"
        if name not in found or name not in wanted
        else f"{name} was changed"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]


def fetch(package: Package, folder: Path) -> Path:
    """Download a package into ``folder`` and return its archive."""
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed: some of the packages come from there")
        wanted = f"{package.name}@{package.version}"
        command = [npm, "pack", "--silent", "--pack-destination", str(folder), wanted]
    else:
        wanted = f"{package.name}=={package.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), wanted]
    before = set(folder.iterdir())
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = set(folder.iterdir()) - before
    return archive


def members(archive: Path) -> dict[str, bytes]:
    """The files in an archive of npm (``.tgz``) or of PyPI (``.whl``), by path."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if name[-1] != "/"}
    with tarfile.open(archive) as tar:
        files = [member for member in tar if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def select(package: Package, content: dict[str, bytes]) -> dict[str, bytes]:
    """Those of the files that we carry, by path below ``FOLDER``.

    Raises
    ------
    ValueError
        If nothing in the package is called like one of its patterns.
    """
    chosen = {}
    for pattern, goal in package.files.items():
        names = [name for name in content if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(f"{package.name} {package.version} has no {pattern}")
        for name in names:
            place = f"{goal}{PurePosixPath(name).name}" if goal.endswith("/") else goal
            chosen[place] = content[name]
    return chosen


def renew(folder: Path = FOLDER) -> None:
    """Fetch everything; if all of it is there, put it in the place of what ``folder`` holds."""
    chosen = {name: (folder / name).read_bytes() for name in KEPT}
    with tempfile.TemporaryDirectory() as name:
        for package in PACKAGES:
            print(f"{package.name} {package.version}", file=sys.stderr, flush=True)
            chosen |= select(package, members(fetch(package, Path(name))))
    shutil.rmtree(folder)
    for place, data in chosen.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data)
    lines = [f"{digest}  {place}\n" for place, digest in sums(folder).items()]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Renew or check the files; 1 if some are not as they should be."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--check", action="store_true", help="only compare with the checksums")
    if not parser.parse_args(arguments).check:
        renew()
    found = problems()
    for problem in found:
        print(f"book/assets/vendor/{problem}", file=sys.stderr)
    if not found:
        size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
        print(f"{len(sums(FOLDER))} files as they should be, {size / 1e6:.1f} MB")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
