"""What a build adds to pyproject.toml: a copy of notebooks and pages, and the revision.

They are what ``dualdiff init`` copies out of an installed package.
"""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a build has neither this folder on its path nor torch

from dualdiff.experiments.provenance import COPY, STAMP  # noqa: E402
from dualdiff.publish.init import stamp, write  # noqa: E402


class WithProject(build_py):
    """Modules, and the copy beside them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "dualdiff", COPY.name)
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            write(ROOT, target)


class WithRevision(sdist):
    """An archive of sources, which has no git to ask."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        path = Path(base_dir, STAMP)
        path.unlink(missing_ok=True)  # it may be a link to the one of this folder
        path.write_text(stamp(ROOT), "utf-8")


setup(cmdclass={"build_py": WithProject, "sdist": WithRevision})
