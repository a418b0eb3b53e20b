"""Notebooks are checked before they run, run in parallel, and run once."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time

import nbformat
import pytest

from dualdiff.publish import children, notebooks, runner
from dualdiff.publish.children import ChapterError, Children, Page

PARAMETERS = """\
profile: str = "smoke"  # how much is computed
seed: int = 3
height_tolerance: float = 0.25
quiet: bool = True
"""


def write(path, *code, parameters=PARAMETERS, checked=False):
    """A notebook with a heading, a parameters cell and the given code cells.

    If it is `checked` it asks the book, in a last cell, to check all its parameters.
    """
    if checked:
        names = re.findall(r"^\w+", parameters, re.M)
        call = f"check({', '.join(f'{name}={name}' for name in names)})"
        code = (*code, f"from dualdiff.experiments.profiles import check\n{call}")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter"),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, code),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.fixture
def no_kernel(monkeypatch):
    """Any start of a child, and so of a kernel, fails the test."""

    def refuse(*_args, **_options):
        pytest.fail("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)


BAD = [  # more values that are refused: test_profiles
    ({"height_tolernce": 1.0}, "unknown parameter 'height_tolernce' .*did you mean 'height_tol"),
    ({"zzz": 1}, "unknown parameter 'zzz' for a.ipynb; it must be one of: profile, seed"),
    ({"scenario": "cabinet"}, "unknown parameter 'scenario'"),  # known, but not to this notebook
    ({"seed": -1}, "'seed' is -1; it must be an integer from 0 to 2147483647"),
]


@pytest.mark.parametrize("parameters,message", BAD)
def test_refused_before_a_kernel_starts(parameters, message, tmp_path, no_kernel):
    notebook = write(tmp_path / "a.ipynb", checked=True)
    with pytest.raises(ValueError, match=message):
        runner.run(notebook, parameters, tmp_path / "out.ipynb")
    with pytest.raises(ValueError, match=message):
        runner.run_all([Page("a", notebook, parameters)], root=tmp_path)
    assert not (tmp_path / "out.ipynb").exists()


def test_bad_defaults_are_refused_too(tmp_path, no_kernel):
    notebook = write(tmp_path / "a.ipynb", parameters='recipe: str = "best"', checked=True)
    with pytest.raises(ValueError, match="'recipe' is 'best'"):
        runner.run(notebook, {})


def test_outputs_that_would_be_lost_are_refused_before_a_kernel_starts(tmp_path, no_kernel):
    notebook = write(tmp_path / "a.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "link.ipynb").symlink_to(notebook)
    os.link(notebook, tmp_path / "same-failed.ipynb")
    before, content = sorted(tmp_path.rglob("*")), notebook.read_bytes()
    # The input itself, also by another name, and as the notebook that holds what a failed run got
    # to; the name of a failed one is longer.
    same = ("a.ipynb", "link.ipynb", "same.ipynb", f"{'x' * 245}.ipynb")
    for name in (".", "folder.ipynb", "out.html", "out", "a.ipynb/out.ipynb", *same):
        with pytest.raises(ValueError, match=r"output is .*must be a file that ends in \.ipynb"):
            runner.run(notebook, {}, tmp_path / name)
        assert sorted(tmp_path.rglob("*")) == before and notebook.read_bytes() == content


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "foreign": lambda data: b"{}",
    "binary": lambda data: b"\x00\xff" + data[2:],
    "no outputs": lambda data: data.replace(b'"outputs"', b'"output"'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_executed_notebook_is_made_again(damage, tmp_path):
    page = Page("part/a", write(tmp_path / "a.ipynb", "print('here')"))
    path = runner.run_all([page], root=tmp_path, quiet=True)["part/a"]
    path.write_bytes(damage(path.read_bytes()))
    assert runner.run_all([page], root=tmp_path, quiet=True) == {"part/a": path}
    assert printed(path) == "here\n"


def test_braces_in_names_are_nothing_to_fill_in(tmp_path):
    notebook = write(tmp_path / "{seed}" / "a{}.ipynb", "print(seed)")
    output = runner.run(notebook, {"seed": 8}, tmp_path / "{x}" / "{seed}.ipynb", quiet=True)
    assert printed(output) == "8\n" and output.parent.name == "{x}"


def test_jobs_and_no_pages(tmp_path, no_kernel):
    assert runner.run_all([], root=tmp_path) == {}
    with pytest.raises(ValueError, match="jobs is 0"):
        runner.run_all([], root=tmp_path, jobs=0)


REPORT = """\
import os, sys
print(sys.executable, os.getcwd(), os.environ["OMP_NUM_THREADS"], seed)"""


def test_run(tmp_path, monkeypatch):
    # Another kernel by the name of python3 must not be taken for ours.
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "other", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    notebook = write(tmp_path / "chapters" / "a.ipynb", REPORT)
    before = notebook.read_bytes()
    output = runner.run(notebook, {"seed": 5}, tmp_path / "out" / "b.ipynb", threads=1)
    assert printed(output) == f"{sys.executable} {notebook.parent} 1 5\n"
    assert notebook.read_bytes() == before
    assert [path.name for path in output.parent.iterdir()] == ["b.ipynb"]
    # What is shared must not say where it was made.
    metadata = json.loads(output.read_text())["metadata"]
    assert "papermill" not in metadata and str(tmp_path) not in json.dumps(metadata)
    assert metadata["dualdiff"]["seconds"] >= 0


TOGETHER = """\
import pathlib, time
me, other = pathlib.Path("here{0}"), pathlib.Path("here{1}")
me.touch()
end = time.time() + 60
while not other.exists():
    assert time.time() < end, "the other one never ran at the same time"
    time.sleep(0.05)
print("both")"""


def test_the_longest_goes_first_and_the_others_in_their_order(tmp_path, monkeypatch):
    said = {"a": None, "b": {"seconds": 3}, "c": {"seconds": "many"}, "d": {"seconds": 70.5}}
    for name, meta in said.items():
        path = write(tmp_path / f"{name}.ipynb", "x = 1")
        node = notebooks.read(path)
        node.metadata["dualdiff"] = meta
        path.write_text(json.dumps(node))
    begun = []
    monkeypatch.setattr(Children, "execute", lambda self, page, *rest: begun.append(page.name))
    pages = [Page(name, tmp_path / f"{name}.ipynb", {}) for name in said]
    assert list(runner.run_all(pages, root=tmp_path, jobs=1, quiet=True)) == [*said]
    assert begun == ["d", "b", "a", "c"]


def test_run_all_in_parallel_then_from_the_cache(tmp_path, capfd):
    pages = [
        Page(f"part/{i}", write(tmp_path / f"{i}.ipynb", TOGETHER.format(i, 1 - i)), {"seed": i})
        for i in range(2)
    ]
    first = runner.run_all(pages, root=tmp_path, jobs=2)
    lines = capfd.readouterr().err
    for page in pages:
        assert printed(first[page.name]) == "both\n"
        assert f"{page.name}: started" in lines and f"{page.name}: done in " in lines
    stamps = [path.stat().st_mtime_ns for path in first.values()]
    assert runner.run_all(pages, root=tmp_path, jobs=2) == first
    assert "part/0: up to date" in capfd.readouterr().err
    assert [path.stat().st_mtime_ns for path in first.values()] == stamps

    # One page with other parameters: it alone runs again, and its old result goes.
    changed = [Page("part/0", pages[0].notebook, {"seed": 9}), pages[1]]
    again = runner.run_all(changed, root=tmp_path, jobs=2, quiet=True)
    assert again["part/1"] == first["part/1"] and again["part/0"] != first["part/0"]
    assert not first["part/0"].exists() and again["part/0"].exists()
    assert capfd.readouterr().err == ""


def test_fingerprint(tmp_path, monkeypatch):
    notebook = write(tmp_path / "a.ipynb", "1 + 1")
    base = runner.fingerprint(notebook, {})
    assert runner.parameters_of(notebook)["seed"] == 3
    assert base == runner.fingerprint(notebook, {"seed": 3})  # the default
    assert base != runner.fingerprint(notebook, {"seed": 4})
    assert base != runner.fingerprint(write(tmp_path / "b.ipynb", "1 + 2"), {})
    executed = nbformat.read(notebook, as_version=4)
    executed.cells[-1].outputs = [nbformat.v4.new_output("stream", text="2")]
    executed.cells[-1].execution_count = 7
    nbformat.write(executed, tmp_path / "c.ipynb")
    assert base == runner.fingerprint(tmp_path / "c.ipynb", {})  # outputs do not count
    executed.cells[-1].metadata["tags"] = ["remove-input"]
    nbformat.write(executed, tmp_path / "c.ipynb")
    assert base != runner.fingerprint(tmp_path / "c.ipynb", {})
    monkeypatch.setattr(runner, "version", lambda name: f"another {name}")
    assert base != runner.fingerprint(notebook, {})


def test_fingerprint_follows_what_is_reached(tmp_path, monkeypatch):
    notebook = write(tmp_path / "a.ipynb", "import dualdiff as dd\ndd.joint")
    prints = {runner.fingerprint(notebook, {})}
    for name in ("reached_by", "definitions_of"):  # of the notebook, and of what plays it
        monkeypatch.setattr(runner, name, lambda *_: {"joint": "edited"})
        prints.add(runner.fingerprint(notebook, {}))
    assert len(prints) == 3


def test_fingerprint_follows_the_committed_tables(tmp_path, monkeypatch):
    notebook = write(tmp_path / "a.ipynb", "1 + 1")
    monkeypatch.setattr(runner, "PROJECT", tmp_path)
    folder = tmp_path / "book" / "results"
    prints = [runner.fingerprint(notebook, {})]
    folder.mkdir(parents=True)
    for text in ("value\n1\n", "value\n2\n"):
        (folder / "cabinet.csv").write_text(text)
        prints.append(runner.fingerprint(notebook, {}))
    assert len(set(prints)) == 3
    (folder / "cabinet.csv").unlink()
    assert runner.fingerprint(notebook, {}) == prints[0]


def test_a_failing_chapter(tmp_path):
    failing = write(
        tmp_path / "bad.ipynb", "before = 1", "x = before\nraise KeyError('the box')", "never = 1"
    )
    slow = write(tmp_path / "slow.ipynb", "import time\ntime.sleep(600)")
    pages = [Page("part/bad", failing, {"seed": 1}), Page("part/slow", slow)]
    pages += [Page("part/later", slow, {"seed": 8})]
    start = time.monotonic()
    with pytest.raises(ChapterError) as caught:
        runner.run_all(pages, root=tmp_path, jobs=2)
    assert time.monotonic() - start < 60  # the slow one was ended
    error, partial = caught.value, tmp_path / "_build" / "failed" / "part" / "bad.ipynb"
    # The fourth cell of the source, though papermill added one for the parameters.
    assert (error.page, error.cell, error.error) == ("part/bad", 4, "KeyError")
    assert error.partial == partial and partial.exists()
    for words in ("part/bad", "cell 4", "KeyError", "the box", "x = before", str(partial)):
        assert words in str(error)
    assert not list((tmp_path / "_build").glob("executed/**/*.ipynb"))


def test_a_kernel_that_dies(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "import os\nos._exit(3)")
    with pytest.raises(ChapterError, match=r"a failed in cell 3: DeadKernelError") as caught:
        runner.run(notebook, {}, tmp_path / "out.ipynb")
    assert "os._exit(3)" in str(caught.value)
    assert caught.value.partial == tmp_path / "out-failed.ipynb"


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


def interruptible(command, folder):
    """A process that is started there.

    A test run in the background of a shell ignores Ctrl-C, and its children would, too.
    """
    options = {"cwd": folder, "stderr": subprocess.PIPE, "text": True}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, **options)


@pytest.mark.parametrize("posix", [True, False])
def test_lines_come_whole_however_they_are_cut(
    posix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "POSIX", posix)
    there, here = os.pipe()
    text = "".join(f"{i}: {'x' * (i * 37)}\n" for i in range(200)).encode()

    def write_in_parts() -> None:
        for start in range(0, len(text), 1001):
            os.write(here, text[start : start + 1001])
        os.close(here)

    writer = threading.Thread(target=write_in_parts)
    writer.start()
    assert b"".join(line + b"\n" for line in children._lines(there)) == text
    writer.join()
    os.close(there)


@pytest.mark.parametrize("end,code", [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_end_of_the_runner_leaves_no_kernel(end, code, tmp_path):
    say_who = "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))"
    notebook = write(tmp_path / "a.ipynb", say_who, "import time\ntime.sleep(600)")
    command = [sys.executable, "-m", "dualdiff.publish.cli", "run", str(notebook)]
    process = interruptible(command, tmp_path)
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    kernel = int((tmp_path / "pid").read_text())
    assert alive(kernel)
    process.send_signal(end)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == code and "Traceback" not in errors
    until(lambda: not alive(kernel), 10)


ALL = """\
from pathlib import Path
from dualdiff.publish import children, notebooks, runner
pages = [children.Page(name, Path(f"{name}.ipynb")) for name in "abcd"]
runner.run_all(pages, root=Path.cwd(), jobs=2)"""


def test_an_interruption_ends_all_pages_and_starts_none(tmp_path):
    code = "import os, pathlib, time\nme = pathlib.Path(f'pid-{os.getpid()}')\nme.touch()"
    for name in "abcd":
        write(tmp_path / f"{name}.ipynb", f"{code}\ntime.sleep(600)")
    process = interruptible([sys.executable, "-c", ALL], tmp_path)
    until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    kernels = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(kernels) == 2
    until(lambda: not any(map(alive, kernels)), 10)
    assert not list((tmp_path / "_build").glob("executed/*.ipynb"))


def test_an_error_travels_whole(tmp_path):
    """From a worker of Dask, pickled."""
    error = ChapterError("a", "KeyError", "'x'", 3, "x['x']", tmp_path)
    assert str(pickle.loads(pickle.dumps(error))) == str(error) and "cell 3" in str(error)
