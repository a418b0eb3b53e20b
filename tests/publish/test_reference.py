"""The reference: every public name stands there once, and its examples run."""

import doctest
import re
from pathlib import Path

import pytest
import torch

import dualdiff

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "book" / "reference").glob("*.md"))
EXAMPLES = re.compile(r"^```pycon\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_give_what_they_print(page: Path) -> None:
    """One after the other, as a reader would type them."""
    text = "\n".join(EXAMPLES.findall(page.read_text("utf-8")))
    found = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert found.examples or page.stem == "index"
    with torch.random.fork_rng():  # networks of others start from the global state
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(found)
    assert result.failed == 0


def test_every_public_name_is_described_once_and_used() -> None:
    described: list[str] = []
    for page in PAGES:
        text = page.read_text("utf-8")
        here = re.findall(r"^\.\. auto\w+:: dualdiff\.(\w+)$", text, re.M)
        used = {*re.findall(r"\bdd\.(\w+)", "\n".join(EXAMPLES.findall(text)))}
        assert {*here} <= used, page.stem
        described += here
    assert sorted(described) == sorted(dualdiff._HOMES)


def test_what_is_described_is_there() -> None:
    for page in PAGES:
        for path in re.findall(
            r"^\.\. auto\w+:: dualdiff\.([\w.]+)$", page.read_text("utf-8"), re.M
        ):
            found = dualdiff
            for name in path.split("."):
                found = getattr(found, name)
            assert found.__doc__
