"""One script out of several: browsers refuse relative imports of a widget's module."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dualdiff.plots import COLOURS

FOLDER = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import\s[^;]*?from\s+"\./([\w.]+)";\n', re.MULTILINE)
_TEXT = re.compile(r'^import (\w+) from "\./([\w.]+)\?text";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def bundle(name: str, *, exports: bool = False) -> str:
    """The module ``name`` with the modules it imports put in front of it, each once.

    The modules stand in one scope, so their top-level names must differ. Exports other than the
    default one are dropped (with ``exports`` those of ``name`` stay): a widget's module has the
    default export only. ``COLOURS`` are those
    of the book's figures. ``import name from "./part.js?text"`` gives the bundle of a part as a
    string, which is how a worker gets its script.
    """
    done: list[str] = []

    def add(part: str) -> str:
        if part in done:
            return ""
        done.append(part)
        text = (FOLDER / part).read_text(encoding="utf-8")
        before = "".join(add(other) for other in _IMPORT.findall(text))
        text = _TEXT.sub(lambda m: f"const {m[1]} = {json.dumps(bundle(m[2]))};\n", text)
        text = _IMPORT.sub("", text)
        return before + (text if exports and part == name else _EXPORT.sub("", text))

    return f"const COLOURS = {json.dumps(COLOURS)};\n{add(name)}"
