"""Submissions made of the labs: with the solutions, with a mistake, with what a test needs."""

import json
from pathlib import Path
from typing import Any

import yaml

from dualdiff.labs import questions, sources

ROOT = Path(__file__).parents[1]
LABS = sources(ROOT)


def mistakes(lab: str) -> list[dict[str, Any]]:
    """The typical wrong answers of a lab: title, question, answer, marks, caught_by."""
    path = ROOT / "notebooks" / "labs" / "mistakes" / f"{lab}.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


def with_answers(solutions: Path, lab: str, answers: dict[str, str]) -> dict[str, Any]:
    """The notebook with solutions, in which some questions have another answer."""
    notebook = json.loads(solutions.read_text("utf-8"))
    known = questions(LABS[lab])
    for question, answer in answers.items():
        cells = [c for c in notebook["cells"] if "".join(c["source"]) == known[question]]
        assert len(cells) == 1, f"{lab} {question}: its answer is in {len(cells)} cells"
        cells[0]["source"] = answer
    return notebook


if __name__ == "__main__":
    # python tests/lab_notebooks.py BUILT LAB OUT: the wrong answers of a lab as notebooks
    import sys

    built, lab, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for number, mistake in enumerate(mistakes(lab), 1):
        answers = {mistake["question"]: mistake["answer"]}
        notebook = with_answers(built / "solutions" / f"{lab}.ipynb", lab, answers)
        (out / f"mistake{number}.ipynb").write_text(json.dumps(notebook), "utf-8")
