"""What a notebook may be given is what it declares, however it was written down."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_notebooks import OWN
from test_runner import printed, write

from dualdiff.experiments.profiles import PARAMETERS
from dualdiff.publish import declared, notebooks, runner
from dualdiff.publish.project import chapters, project_root

OTHERS = [
    {},
    {"kernelspec": {}, "language_info": {}},
    {"kernelspec": None, "language_info": None},
    {"kernelspec": {"name": "python3", "display_name": "x"}},
    {"kernelspec": {"name": "gone", "display_name": "x", "language": "python"}},
    {"language_info": {"name": "python", "version": "2.7"}},
    {"kernelspec": {"name": "x", "display_name": "", "language": "Python 3"}, "widgets": {}},
]
CELLS = [
    {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["seed = 3"]},
    {"cell_type": "code", "metadata": {"tags": None}, "source": "print('seed', seed)"},
]
for cell in CELLS:
    cell |= {"outputs": [], "execution_count": None}


def old() -> dict[str, Any]:
    """A notebook of version 3: sheets, and input in place of source."""
    new = nbformat.from_dict({"cells": CELLS, "metadata": {}, "nbformat": 4, "nbformat_minor": 0})
    new.cells[1].metadata = nbformat.NotebookNode()
    return dict(nbformat.convert(new, 3))


FORMS = [{"cells": CELLS, "metadata": meta, "nbformat": 4, "nbformat_minor": 0} for meta in OTHERS]
FORMS += [
    {"cells": CELLS, "metadata": {}, "nbformat": 4, "nbformat_minor": 5},  # and no ids
    {"cells": CELLS, "nbformat": 4, "nbformat_minor": 2},
    old(),
]


@pytest.mark.parametrize("form", FORMS)
def test_any_form_declares_the_same(form: dict[str, Any], tmp_path: Path) -> None:
    notebook = tmp_path / "own.ipynb"
    for start in ("", "\ufeff"):
        notebook.write_text(start + json.dumps(form), "utf-8")
        assert runner.parameters_of(notebook) == {"seed": 3}
        assert declared.validate(notebook, {"seed": 4}) == {"seed": 4}
        assert runner.fingerprint(notebook, {}) != runner.fingerprint(notebook, {"seed": 4})


# One whose kernel is not there, one of VS Code's that lost all, one without ids, an old one.
@pytest.mark.parametrize("form", [FORMS[4], FORMS[2], FORMS[-3], FORMS[-1]])
def test_any_form_runs(form: dict[str, Any], tmp_path: Path) -> None:
    notebook = tmp_path / "own.ipynb"
    notebook.write_text(json.dumps(form))
    output = runner.run(notebook, {"seed": 12}, tmp_path / "out.ipynb", quiet=True)
    assert printed(output) == "seed 12\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "not JSON",
        '{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        '{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        '{"cells": [], "metadata": {}, "nbformat": 7, "nbformat_minor": 0}',
        json.dumps(FORMS[0])[:150],
        json.dumps({**FORMS[0], "metadata": {"kernelspec": {"name": "ir", "language": "R"}}}),
        json.dumps({**FORMS[0], "metadata": {"language_info": {"name": "R"}}}),
    ],
)
def test_what_is_no_notebook_of_python_is_refused_by_name(text: str, tmp_path: Path) -> None:
    notebook = tmp_path / "own.ipynb"
    notebook.write_text(text)
    with pytest.raises(ValueError, match=r"own\.ipynb (cannot be read as a notebook|.*in Python)"):
        runner.run(notebook, {}, tmp_path / "out.ipynb")


def test_without_a_cell_of_parameters_only_parameters_are_refused(tmp_path: Path) -> None:
    notebook = write(tmp_path / "own.ipynb", "print(1)", parameters="")
    assert declared.validate(notebook, {}) == {}
    bare = nbformat.read(notebook, 4)
    bare.cells[1].metadata = {}
    nbformat.write(bare, notebook)
    assert printed(runner.run(notebook, {}, tmp_path / "out.ipynb", quiet=True)) == "1\n"
    # A tag on text declares nothing.
    bare.cells[0].metadata = {"tags": ["parameters"]}
    bare.cells[0].source = "seed = 1"
    for form in (notebook, tmp_path / "text.ipynb"):
        with pytest.raises(ValueError, match=r"unknown parameter 'seed' .*tagged 'parameters'"):
            declared.validate(form, {"seed": 1})
        nbformat.write(bare, tmp_path / "text.ipynb")


ANNOTATED = {
    "int": (st.integers(), "1.5", "x"),
    "float": (st.floats(allow_nan=False), "x", "[]"),
    "str": (st.text(st.characters(exclude_categories=["Cs"])), None, None),
    "bool": (st.booleans(), "2", "maybe"),
    "list[int]": (st.lists(st.integers()), "3", "{}"),
    "dict[str, list[int]] | list": (st.lists(st.integers()), "3", "x"),
    "'int | None'": (st.none() | st.integers(), "1.5", "x"),
    "Optional[float]": (st.none() | st.floats(allow_nan=False), "x", "[]"),
    "typing.Union[int, bool]": (st.integers() | st.booleans(), "1.5", "x"),
    "Literal['a', 'b', 3]": (st.sampled_from(["a", "b", 3]), "c", "4"),
    "Literal['a', 'b'] | None": (st.sampled_from(["a", "b", None]), "c", "3"),
    "Optional[Literal['a', 'b']]": (st.sampled_from(["a", "b", None]), "c", "[]"),
    "'typing.Literal[\"a)\"] | Literal[2]'": (st.sampled_from(["a)", 2]), "a", "3"),
    "Literal['auto'] | float": (st.just("auto") | st.floats(allow_nan=False), "x", "[]"),
    "Literal[1] | bool": (st.sampled_from([1, True, False]), "0", "2"),
}


@pytest.mark.parametrize("annotation", ANNOTATED)
@settings(max_examples=50)
@given(data=st.data())
def test_an_annotation_binds(annotation: str, data: st.DataObject) -> None:
    """A value of the type comes through unchanged, spelt or not, and what is none is refused."""
    values, *bad = ANNOTATED[annotation]
    rule = rule_of(f"x: {annotation} = {data.draw(values)!r}")
    value = data.draw(values)
    spelt = value if isinstance(value, str) else repr(value)
    for found in (rule.settle(value), rule.parse(spelt)):
        assert found == value and type(found) is type(value)
    for text in filter(None, bad):
        with pytest.raises(ValueError, match="parameter 'x' is .*; it must be "):
            rule.parse(text)
    with pytest.raises(ValueError, match="parameter 'x' is"):
        rule.settle(object())


def rule_of(line: str) -> declared.Declared:
    (statement,) = ast.parse(line).body
    annotation = getattr(statement, "annotation", None)
    return declared._declared("x", annotation, statement.value)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "annotation",
    ["Any", "np.ndarray", "'a['", "''", "Annotated[int, '[']", "Literal[Mode.A]", "f(3)", "[int]"],
)
def test_any_other_annotation_allows_what_json_can_say(annotation: str) -> None:
    rule = rule_of(f"x: {annotation} = f(3)")
    for value in (None, 1, "a", [1, {"b": 2.5}]):
        assert rule.settle(value) == value
    with pytest.raises(ValueError, match="parameter 'x' is"):
        rule.settle({1: 2})


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SINGLE = st.none() | st.booleans() | st.integers()
PLAIN = st.recursive(
    SINGLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXT, some, max_size=3),
    max_leaves=5,
)


@given(PLAIN, PLAIN)
@example(3, 0.5)
@example(0.5, 3)
@example(True, 1)
@example(1, True)
@example(None, {"a": [1]})
def test_a_default_alone_says_what_kind_of_value_it_is(default: Any, value: Any) -> None:
    rule = rule_of(f"x = {default!r}")
    assert rule.known and rule.default == default and type(rule.default) is type(default)

    def kind(of: Any) -> str:
        plain = isinstance(of, int | float) and not isinstance(of, bool)
        return "number" if plain else type(of).__name__

    if default is None or kind(value) == kind(default):
        found = rule.settle(value)
        assert found == value and (type(found) is type(value) or isinstance(default, float))
    else:
        with pytest.raises(ValueError, match="parameter 'x' is"):
            rule.settle(value)


@pytest.mark.parametrize("source", ["1 / 2", "Path('a')", "float('inf')", "-math.inf", "f(3)"])
def test_what_is_computed_is_left_to_the_notebook(source: str, tmp_path: Path) -> None:
    notebook = write(tmp_path / "own.ipynb", parameters=f"x = {source}\ny = 1")
    assert declared.validate(notebook, {}) == {"y": 1}
    assert runner.parameters_of(notebook)["x"] == source
    assert declared.validate(notebook, {"x": 3}) == {"x": 3, "y": 1}
    assert runner.fingerprint(notebook, {}) != runner.fingerprint(notebook, {"x": 3})


@pytest.mark.parametrize("source", ["{1, 2}", "{1: 2}", "b'x'", "1j", "[{1}]", "(1, {2})"])
def test_what_json_cannot_carry_has_its_kind_all_the_same(source: str, tmp_path: Path) -> None:
    """Of no default does text pass that is none of its kind, and the notebook's own stays."""
    notebook = write(tmp_path / "own.ipynb", parameters=f"x = {source}\ny = 1")
    assert declared.validate(notebook, {}) == {"y": 1}
    assert runner.parameters_of(notebook)["x"] == source
    rule = declared.parameters(notebook)["x"]
    for value in ("3", "text", "inf", "None", source):
        with pytest.raises(ValueError, match="parameter 'x' is .*; it must be "):
            rule.parse(value)
    for value in (3, "text", None, {1}, b"x"):
        with pytest.raises(ValueError, match="parameter 'x' is .*; it must be "):
            rule.settle(value)


NESTED = st.recursive(
    SINGLE | st.floats(allow_nan=False) | st.just("a"),
    lambda some: st.lists(some, max_size=3) | st.lists(some, max_size=3).map(tuple),
    max_leaves=5,
)


@given(st.lists(NESTED).map(tuple), st.sampled_from(["x = (1, 2)", "x: tuple[int, ...] = f(3)"]))
@example((), "x = ()")
@example((math.inf,), "x = (1,)")
def test_a_tuple_is_the_list_that_json_makes_of_it(value: tuple[Any, ...], line: str) -> None:
    rule, expected = rule_of(line), json.loads(json.dumps(value))
    assert rule.settle(value) == rule.settle(list(value)) == rule.from_yaml(list(value)) == expected
    if "inf" not in repr(value):
        assert rule.parse(repr(value)) == expected
    for text in ("3", "text", "{1: 2}", "(1", "None"):
        with pytest.raises(ValueError, match="parameter 'x' is .* a tuple"):
            rule.parse(text)


@pytest.mark.parametrize("source", ["float('inf')", "-float('inf')", "np.inf", "math.nan", "1e400"])
def test_an_infinite_default_asks_for_a_number(source: str) -> None:
    rule = rule_of(f"x = {source}")
    for text, value in (("inf", math.inf), ("-inf", -math.inf), ("0.5", 0.5), ("-1e-3", -1e-3)):
        assert rule.parse(text) == value and rule.settle(value) == value
    for text in ("text", "None", "[1]", "(1, 2)"):
        with pytest.raises(ValueError, match="parameter 'x' is .* a number"):
            rule.parse(text)


def test_magics_and_lines_that_go_on(tmp_path: Path) -> None:
    parameters = "%matplotlib inline\nx: list = [  # several\n    1,\n    2,\n]\na = b = 2\nc: int"
    notebook = write(tmp_path / "own.ipynb", "!ls\n%%nothing", parameters=parameters)
    assert declared.validate(notebook, {}) == {"x": [1, 2], "a": 2, "b": 2}
    assert declared.validate(notebook, {"c": 3})["c"] == 3
    broken = write(tmp_path / "broken.ipynb", parameters="x = = 1")
    with pytest.raises(ValueError, match=r"broken\.ipynb: the cell tagged 'parameters'"):
        declared.validate(broken, {})


def test_the_book_checks_only_what_it_is_asked_to(tmp_path: Path) -> None:
    """Names of the book mean something else in a notebook of one's own, unless it says so."""
    parameters = 'profile = "mine"\nseed = -1\npoints = 1\nalpha = 0.5\n'
    own = write(tmp_path / "own.ipynb", "def check(**_): ...\ncheck(seed=1)", parameters=parameters)
    wanted = {"profile": "yours", "seed": -2, "points": 0, "alpha": 1}
    assert declared.validate(own, wanted) == wanted
    asks = "from dualdiff.experiments.profiles import check\ncheck(seed=seed)"
    part = write(tmp_path / "part.ipynb", asks, parameters=parameters)
    with pytest.raises(ValueError, match="parameter 'seed' is -1; it must be an integer from 0"):
        declared.validate(part, {"points": 0})
    assert declared.validate(part, {**wanted, "seed": 2}) == {**wanted, "seed": 2}


@pytest.mark.parametrize("path", chapters(project_root()), ids=lambda path: path.stem)
def test_chapters_ask_the_book_to_check_all_that_they_declare(path: Path) -> None:
    known = declared.parameters(path)
    own = {*known} - {*PARAMETERS}
    assert all(known[name].book and known[name].known for name in {*known} - own)
    assert not own or path.stem in OWN


def test_modules_beside_a_notebook_count(tmp_path: Path) -> None:
    for folder in ("package", "space", "os"):
        (tmp_path / folder).mkdir()
    every = "helper deep other package/__init__ package/part package/lone space/part".split()
    for name in every:
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "helper.py").write_text("import deep, torch\nfrom package import part as p\n")
    (tmp_path / "package" / "part.py").write_text("from .. import no\nfrom . import part, sib\n")
    (tmp_path / "package" / "sib.py").write_text("import helper\n")
    cells = ("from __future__ import annotations\n%time\nimport helper, os", "import space.part")
    notebook = write(tmp_path / "own.ipynb", *cells)
    counted = set(every) - {"other", "package/lone"} | {"package/sib"}
    assert set(notebooks.modules(notebook)) == {f"{name}.py" for name in counted}
    prints = [runner.fingerprint(notebook, {})]
    for name in (*every, "package/sib"):
        with open(tmp_path / f"{name}.py", "a") as file:
            file.write("y = 2\n")
        prints.append(runner.fingerprint(notebook, {}))
        assert (prints[-1] != prints[-2]) == (name in counted), name
    (tmp_path / "helper.py").write_text("not Python")
    runner.fingerprint(notebook, {})  # what fails fails when it runs
