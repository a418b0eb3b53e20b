"""Submissions made of the labs: with the solutions, with a mistake, with what a test needs."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbformat import v4

from dualdiff.teaching.labs import mistakes, questions, sources

ROOT = Path(__file__).parents[1]
LABS = sources(ROOT)


def with_answers(solutions: Path, lab: str, answers: dict[str, str]) -> dict[str, Any]:
    """The notebook with solutions, in which some questions have another answer."""
    notebook = json.loads(solutions.read_text("utf-8"))
    known = questions(LABS[lab])
    for question, answer in answers.items():
        cells = [c for c in notebook["cells"] if "".join(c["source"]) == known[question]]
        assert len(cells) == 1, f"{lab} {question}: its answer is in {len(cells)} cells"
        cells[0]["source"] = answer
    return notebook


def blocks(lab: str) -> Iterator[tuple[str, str, str]]:
    """The cells of a source: the block's first line in its format, type of the cell, text."""
    block = ""
    for cell in json.loads(LABS[lab].read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "raw":
            block = text.partition("\n")[0]
        else:
            yield block, cell["cell_type"], text


def secrets(lab: str) -> list[str]:
    """Lines of a lab that students must not see and that no lab gives them anyway.

    Of solutions and of the model answer, of hidden tests with their names, titles of mistakes.
    """
    hidden = "\nhidden: true\n"
    given = "".join(
        text
        for one in LABS
        for block, _, text in blocks(one)
        if block != "# BEGIN SOLUTION" and hidden not in text
    )
    found = [mistake["title"] for mistake in mistakes(LABS[lab])]
    for block, kind, text in blocks(lab):
        if block == "# BEGIN SOLUTION":
            code = re.findall(r"(?s)# BEGIN SOLUTION\n(.*?)# END SOLUTION", text)
            code += re.findall(r"(?m)^(.*)# SOLUTION$", text)
            found += code if kind == "code" else [text]
        elif hidden in text:
            found += [text, *re.findall(r"(?:def |_message: )([^\n(]+)", text)]
    lines = (line.strip() for piece in found for line in piece.splitlines())
    return [line for line in lines if len(line) > 11 and line not in given]


# What a class also hands in, and no lab is about.
STRANGE = {
    "endless_loop": "while True:\n    pass",
    "endless_output": "while True:\n    print('x' * 10**5)",
    "exit": "import os\nos._exit(0)",
    "syntax_error": "def f(:",
}


def a_class(built: Path, out: Path) -> list[Path]:
    """A folder of thirty submissions: solutions, untouched copies, mistakes, and strange ones."""
    made: dict[str, dict[str, Any] | str] = {"not_a_notebook": "hello"}
    for lab in LABS:
        solutions = built / "solutions" / f"{lab}.ipynb"
        made[f"{lab}_solution"] = with_answers(solutions, lab, {})
        made[f"{lab}_untouched"] = json.loads(
            (built / "student" / f"{lab}.ipynb").read_text("utf-8")
        )
        for number, mistake in enumerate(mistakes(LABS[lab])[:3], 1):
            answers = {mistake["question"]: mistake["answer"]}
            made[f"{lab}_mistake{number}"] = with_answers(solutions, lab, answers)
    for (name, code), lab in zip(STRANGE.items(), LABS, strict=False):
        notebook = with_answers(built / "solutions" / f"{lab}.ipynb", lab, {})
        notebook["cells"].append(v4.new_code_cell(code))
        made[f"{lab}_{name}"] = notebook
    out.mkdir(parents=True, exist_ok=True)
    for name, notebook in made.items():
        text = notebook if isinstance(notebook, str) else json.dumps(notebook)
        (out / f"{name}.ipynb").write_text(text, "utf-8")
    return sorted(out.glob("*.ipynb"))


if __name__ == "__main__":
    # python tests/lab_notebooks.py _build/labs OUT: to try `make grade SUBMISSIONS=OUT`
    print(len(a_class(Path(sys.argv[1]), Path(sys.argv[2]))), "submissions")
