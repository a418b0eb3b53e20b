"""Count code lines: those with a token that is neither comment nor docstring.

``python tests/code_lines.py [FOLDER ...]`` prints them by file and folder (dualdiff, tests).
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTHING = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Lines of a Python source that hold code."""
    quoted: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    quoted |= {*range(first.lineno, (first.end_lineno or first.lineno) + 1)}
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOTHING:
            held |= {*range(token.start[0], token.end[0] + 1)}
    return len(held - quoted)


def wings(folder: Path) -> Counter[str]:
    """Code lines by folder below ``folder``; those of its own files are ``.``."""
    found: Counter[str] = Counter()
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder).parts
        found[inside[0] if len(inside) > 1 else "."] += code_lines(path.read_text("utf-8"))
    return found


if __name__ == "__main__":
    for name in sys.argv[1:] or ["dualdiff", "tests"]:
        for path in sorted((ROOT / name).rglob("*.py")):
            print(f"{code_lines(path.read_text('utf-8')):6,}  {path.relative_to(ROOT)}")
        counted = wings(ROOT / name)
        print(*(f"{lines:6,}  {name}/{wing}" for wing, lines in sorted(counted.items())), sep="\n")
        print(f"{counted.total():6,}  {name}")
