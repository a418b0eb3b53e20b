"""Sweeps: what is refused, what runs where, what survives, and that numbers never change."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import hypothesis
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import psutil
import pytest
import yaml
from hypothesis import strategies as st
from test_runner import alive, interruptible, until, write

from dualdiff.experiments.store import Store
from dualdiff.plots.sweep import small_multiples
from dualdiff.publish import cli, grid, sweep
from dualdiff.publish.scheduler import connect
from dualdiff.readings import sweep as readings

PARAMETERS = """\
profile: str = "smoke"  # how much is computed
seed: int = 0
distance: float = 3.0
quiet: bool = True
"""
CODE = """\
import os, random, time
from pathlib import Path
from dualdiff.publish.sweep import record
begun = Path(f"begun-{seed}-{distance:g}")
begun.write_text(f"{os.getpid()} {os.getppid()}")
while Path("hold").exists() and seed == 1 and distance == 3:
    time.sleep(0.05)
score = random.Random(f"{seed} {distance}").random()
record({"score": score, "threads": int(os.environ["OMP_NUM_THREADS"])})"""
EIGHT = {"grid": {"distance": [0, 1.5, 3, 7], "seed": [0, 1]}}
THREE = {"points": [{"distance": 3, "seed": 1}, {"distance": 0, "seed": 0}, {"distance": 7}]}
TWO = {"points": THREE["points"][:2]}


def asked(folder, spec, code=CODE):
    """The notebook, its points, and the YAML file that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    notebook = write(folder / "tiny.ipynb", code, parameters=PARAMETERS)
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump(spec))
    return notebook, grid.points_of(file, notebook), file


class Cluster:
    """A scheduler and workers, each in a process of its own, as a user starts them."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        file = folder / "scheduler.json"
        here = ["--host", "127.0.0.1"]
        self.start("scheduler", *here, "--port", "0", "--no-dashboard", "--scheduler-file", file)
        until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        for _ in range(2):
            own = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", folder]
            self.start("worker", self.address, *own)

    def start(self, what, *words):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *map(str, words)]
        with open(self.folder / "dask.log", "a") as log:
            options = {"cwd": self.folder, "stdout": log, "stderr": log}
            self.processes.append(subprocess.Popen(command, **options))

    def close(self):
        for process in self.processes:
            process.kill()  # a worker that is asked waits for the scheduler, and for killed ones
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def eight(cluster, tmp_path_factory):
    """Eight points over two workers; gives the folders of the notebook and of the sweep."""
    folder = tmp_path_factory.mktemp("eight")
    with connect(cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
    notebook, points, _ = asked(folder, EIGHT)
    out = folder / "out"
    sweep.run(notebook, points, out, scheduler=cluster.address)
    return folder, out


def scores_in(path):
    """Of a table by seed and distance, each as the notebook draws it."""
    table = pd.read_parquet(path)
    scores = table[table["metric"] == "score"]
    for row in scores.itertuples():
        assert row.value == random.Random(f"{row.seed} {row.distance}").random()
    return [*zip(scores["seed"], scores["distance"], strict=True)]


def test_eight_points_over_two_processes(eight, cluster):
    _, out = eight
    table = pd.read_parquet(out / "table.parquet")
    assert list(table) == ["profile", "seed", "distance", "quiet", "metric", "value"]
    every = [(seed, distance) for distance in (0.0, 1.5, 3.0, 7.0) for seed in (0, 1)]
    assert scores_in(out / "table.parquet") == every and table["profile"].eq("smoke").all()
    assert table[table["metric"] == "threads"]["value"].eq(1).all()
    logs = [path.read_text() for path in (out / "runs").glob("*.log")]
    workers = {log.split("started on ")[1].split(" of ")[0] for log in logs}
    assert len(logs) == 8 and len(workers) == 2 and all("done in" in log for log in logs)
    assert len(list((out / "runs").glob("*.ipynb"))) == 8
    made_from = json.loads((out / "table.json").read_text())
    assert made_from["notebook"] == "tiny.ipynb" and len(made_from["points"]) == 8


def test_one_worker_gives_the_same_table_and_kept_points_do_not_run(eight, tmp_path, capfd):
    folder, out = eight
    notebook, points, _ = asked(folder, TWO)
    one = pd.read_parquet(sweep.run(notebook, points, tmp_path / "one", workers=1, quiet=True))
    table = pd.read_parquet(out / "table.parquet")
    for (seed, distance), rows in one.groupby(["seed", "distance"]):
        same = table[(table["seed"] == seed) & (table["distance"] == distance)]
        pd.testing.assert_frame_equal(rows.reset_index(drop=True), same.reset_index(drop=True))
    # Of a larger grid only what is new runs; of the same one nothing, and no scheduler is asked.
    before = (tmp_path / "one" / "table.parquet").read_bytes()
    nowhere = "tcp://127.0.0.1:9"
    sweep.run(notebook, points, tmp_path / "one", scheduler=nowhere)
    assert "2 points: 2 kept, 0 to run" in capfd.readouterr().err
    assert (tmp_path / "one" / "table.parquet").read_bytes() == before


def test_a_damaged_result_is_reported_and_run_again(eight, tmp_path, capfd):
    folder, out = eight
    notebook, points, _ = asked(folder, EIGHT)
    again = tmp_path / "again"
    shutil.copytree(out, again)
    damaged = Store(again).path("points", points[3].config(), "parquet")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    sweep.run(notebook, points, again, workers=1)
    said = capfd.readouterr().err
    assert "7 kept, 1 to run" in said and points[3].name in said and "damaged" in said
    assert (again / "table.parquet").read_bytes() == (out / "table.parquet").read_bytes()
    log = (again / "runs" / f"{points[3].name}.log").read_text()
    assert log.count("started on") == 2


def test_interrupted_and_resumed(tmp_path, capsys, monkeypatch):
    notebook, _, file = asked(tmp_path, THREE)
    (tmp_path / "hold").touch()  # its first point waits
    command = [
        sys.executable,
        "-m",
        "dualdiff.publish.cli",
        "sweep",
        str(notebook),
        "-f",
        str(file),
    ]
    process = interruptible([*command, "--workers", "2"], tmp_path)
    stored, begun = tmp_path / "grid-sweep" / "points", tmp_path / "begun-1-3"
    until(lambda: len(list(stored.glob("*.parquet"))) == 2 and begun.exists())
    kernel, chapter = map(int, begun.read_text().split())
    assert alive(kernel)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "Traceback" not in errors
    until(lambda: not alive(kernel) and not alive(chapter), 10)
    (tmp_path / "hold").unlink()

    monkeypatch.chdir(tmp_path)
    assert cli.main([*command[3:], "--list"]) == 0
    states = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert states == ["run", "done", "done"]
    assert cli.main([*command[3:], "--workers", "1"]) == 0
    shown = capsys.readouterr()
    assert "3 points: 2 kept, 1 to run" in shown.err
    assert shown.out.split() == ["grid-sweep/table.parquet", "grid-sweep/report.ipynb"]
    there = [(1, 3.0), (0, 0.0), (0, 7.0)]
    assert scores_in(tmp_path / "grid-sweep" / "table.parquet") == there
    report = nbformat.read(tmp_path / "grid-sweep" / "report.ipynb", 4)
    kinds = [out.get("data", {}) for cell in report.cells for out in cell.get("outputs", [])]
    assert any("image/png" in data for data in kinds) and any("text/html" in d for d in kinds)


@pytest.mark.parametrize("lost", [False, True], ids=["interrupted", "scheduler lost"])
def test_the_end_of_a_sweep_at_a_scheduler_leaves_no_kernel(lost, tmp_path, request):
    """By Ctrl-C the workers go on to serve others; whoever loses the scheduler says so."""
    ours = Cluster(tmp_path) if lost else request.getfixturevalue("cluster")
    notebook, _, file = asked(tmp_path, TWO)
    (tmp_path / "hold").touch()
    command = [sys.executable, "-m", "dualdiff.publish.cli", "sweep", str(notebook)]
    command += ["-f", str(file), "--scheduler", ours.address]
    process = interruptible(command, tmp_path)
    try:
        stored, begun = tmp_path / "grid-sweep" / "points", tmp_path / "begun-1-3"
        until(lambda: len(list(stored.glob("*.parquet"))) == 1 and begun.exists())
        kernel, chapter = map(int, begun.read_text().split())
        assert alive(kernel)
        if lost:
            ours.processes[0].kill()
        else:
            process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == (1 if lost else 130) and "Traceback" not in errors
        assert ("the scheduler is gone" if lost else "interrupted") in errors
        if lost:
            ours.close()  # workers wait half a minute for a scheduler, and for what they run
        until(lambda: not alive(kernel) and not alive(chapter), 30)
        assert lost or all(worker.poll() is None for worker in ours.processes)
    finally:
        process.kill()
        if lost:
            ours.close()


def test_a_worker_that_is_killed_loses_nothing(eight, cluster, tmp_path):
    notebook, points, _ = asked(tmp_path, TWO)
    (tmp_path / "hold").touch()
    begun, killed = tmp_path / "begun-1-3", []

    def kill():
        until(begun.exists)
        kernel, chapter = map(int, begun.read_text().split())
        killed.extend([psutil.Process(chapter).ppid(), chapter, kernel])
        (tmp_path / "hold").unlink()
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    where = {"scheduler": cluster.address, "quiet": True}
    table = sweep.run(notebook, points, tmp_path / "out", **where)
    killer.join()
    assert killed[0] in [process.pid for process in cluster.processes[1:]]
    assert scores_in(table) == [(1, 3.0), (0, 0.0)]
    log = (tmp_path / "out" / "runs" / f"{points[0].name}.log").read_text()
    assert log.count("started on") == 2
    until(lambda: not any(map(alive, killed[1:])), 10)


def test_a_point_that_fails(tmp_path, capfd):
    code = "from dualdiff.publish.sweep import record\nx = seed\nassert x != 1\nrecord({'a': x})"
    notebook, _, file = asked(tmp_path, {"grid": {"seed": [1, 2]}}, code)
    out = tmp_path / "out"
    words = ["sweep", str(notebook), "-f", str(file), "-o", str(out), "--retries", "0"]
    assert cli.main([*words, "--no-report"]) == 1
    said = capfd.readouterr().err
    assert "1 of 2 points failed" in said and "AssertionError" in said and "Traceback" not in said
    (partial,) = (out / "runs").glob("*-failed.ipynb")
    assert str(partial) in said and "x != 1" in said
    assert pd.read_parquet(out / "table.parquet")["seed"].tolist() == [2]


@pytest.fixture
def faked(monkeypatch):
    """No notebook runs: the given functions stand for points, one after the other."""
    steps = []

    def run(job, point, files, report):
        report(1, 2)
        steps.pop(0)(job, point)

    monkeypatch.setattr(sweep, "_run", run)
    monkeypatch.setitem(sys.modules, "distributed", None)  # needed at a scheduler alone
    return steps


def store(job, point):
    table = pd.DataFrame({"metric": ["a"], "value": [float(point.parameters["seed"])]})
    Store(job.folder).table("points", point.config(), lambda: table)


def store_badly(job, point):
    store(job, point)
    Store(job.folder).path("points", point.config(), "parquet").write_bytes(b"PAR1")


def fail(job, point):
    raise RuntimeError("out of memory")


def test_retries(faked, tmp_path, capfd):
    notebook, points, _ = asked(tmp_path, {"points": [{"seed": 5}]})
    for number, steps in enumerate(([fail, fail, store], [store_badly, lambda *_: None, store])):
        faked[:] = steps
        path = sweep.run(notebook, points, tmp_path / str(number), workers=1, retries=2)
        assert pd.read_parquet(path)["value"].tolist() == [5.0] and not faked
    said = capfd.readouterr().err
    assert "damaged" in said and "its table is not there; run again" in said
    assert said.count("an attempt failed: out of memory") == 2
    for steps, words in (([fail, fail], "out of memory"), ([store_badly, store_badly], "damaged")):
        faked[:] = steps
        with pytest.raises(sweep.SweepError, match=words):
            sweep.run(notebook, points, tmp_path / words, workers=1, quiet=True)
        assert not faked
    log = (tmp_path / "0" / "runs" / f"{points[0].name}.log").read_text()
    assert log.count("failed: out of memory") == 2 and "done in" in log


def test_a_table_of_what_runs_on_a_terminal(faked, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    notebook, points, _ = asked(tmp_path, {"points": [{"seed": 5}]})
    faked[:] = [lambda *both: time.sleep(1) or store(*both)]
    sweep.run(notebook, points, tmp_path / "out", workers=1)
    said = capsys.readouterr().err
    assert f"{'point':<44} {'cell':>9}" in said and f"{points[0].name[:44]:<44}    1 of 2" in said
    assert "1 of 1 points" in said and "started on" not in said


def test_an_edited_notebook_is_noticed_by_the_worker(tmp_path):
    notebook, points, _ = asked(tmp_path, {"points": [{"seed": 5}]})
    write(notebook, CODE + "\n2", parameters=PARAMETERS)
    with pytest.raises(sweep.SweepError, match="differ here from what the sweep began with"):
        sweep.run(notebook, points, tmp_path / "out", workers=1, retries=0, quiet=True)


BAD = [
    ({"grid": {"distnce": [1]}}, "unknown parameter 'distnce' .* did you mean 'distance'"),
    ({"grid": {"seed": [0, -1]}}, "'seed' is -1; it must be an integer from 0"),
    ({"points": [{"seed": 1}, {"profile": "huge"}]}, "'profile' is 'huge'; it must be one of"),
    ({"parameters": {"recipe": "tuned"}, "grid": {"seed": [1]}}, "unknown parameter 'recipe'"),
    ({"grid": {"seed": 3}}, "'seed' is 3; it must be a list of values"),
    ({"grid": {"seed": []}}, "'seed' is .*; it must be a list of values"),
    ({"grid": [1]}, r"'grid' is \[1\]; it must be names with values"),
    ({"points": {"seed": 1}}, "it must be a list of names with values"),
    ({"seeds": [1]}, "it must have 'grid' or 'points'"),
    ([], "it must have 'grid' or 'points'"),
]


@pytest.mark.parametrize("spec,message", BAD)
def test_refused_before_anything_runs(spec, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    notebook = write(tmp_path / "tiny.ipynb", CODE, parameters=PARAMETERS, checked=True)
    file, out = tmp_path / "grid.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(spec))
    assert cli.main(["sweep", str(notebook), "-f", str(file), "-o", str(out)]) == 2
    with pytest.raises(ValueError, match=message):
        grid.points_of(file, notebook)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "grid.yaml" in said and not out.exists()


def test_points(tmp_path):
    spec = {"grid": {"distance": [1, "1e0", 1.0]}, "points": [{"distance": 1, "seed": 0}, {}]}
    _, points, file = asked(tmp_path, spec)
    assert [point.parameters["distance"] for point in points] == [1.0, 3.0]
    assert points[0].name.startswith("distance=1.0-") and len({p.name for p in points}) == 2
    silent = write(tmp_path / "silent.ipynb", "1 + 1", parameters=PARAMETERS)
    with pytest.raises(ValueError, match=r"silent.ipynb hands over no results; .*record"):
        grid.points_of(file, silent)
    with pytest.raises(ValueError, match="cannot be read"):
        grid.points_of(tmp_path / "nothing.yaml", silent)


OWN = """\
from typing import Literal
alpha: float = 0.5
mode: Literal["a", "b"] = "a"
sizes = [1, 2]
start = 10 / 4
free = None
"""
RECORDS = """\
from dualdiff.publish.sweep import record
record({"m": alpha * sum(sizes) + start, "free": len(str(free)), "b": float(mode == "b")})"""


def test_a_notebook_of_ones_own(tmp_path, monkeypatch, capfd):
    """Its own parameters, of any kind that YAML can say; outside of any project."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own.ipynb", RECORDS, parameters=OWN)
    (tmp_path / "grid.yaml").write_text(
        "parameters: &common {sizes: [2, 3]}\n"
        "grid: {alpha: [1, 2e-1]}\n"
        "points: [{<<: *common, free: {x: 1}, mode: b}, {free: 7, sizes: []}, {free: seven}]\n"
    )
    assert cli.main(["sweep", "own.ipynb", "-f", "grid.yaml", "--quiet"]) == 0
    table = pd.read_parquet("grid-sweep/table.parquet")
    wide = table.pivot_table(index=["alpha", "sizes", "mode"], columns="metric", values="value")
    assert len(table) == 15 and wide.loc[(1.0, "[2, 3]", "a"), "m"] == 7.5
    assert wide.loc[(0.2, "[2, 3]", "a"), "m"] == pytest.approx(3.5)
    assert wide.loc[(0.5, "[]", "a"), "m"] == 2.5
    assert set(table["free"].dropna()) == {'{"x": 1}', "7", "seven"}
    assert "start" not in table  # computed by the notebook
    report = nbformat.read(tmp_path / "grid-sweep" / "report.ipynb", 4)
    shown = [out.get("data", {}) for cell in report.cells for out in cell.get("outputs", [])]
    assert any("`alpha` (3 values)" in str(data.get("text/markdown")) for data in shown)
    assert any("alpha" in str(data.get("text/html")) for data in shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{alpha: [high]}", "'alpha' is 'high'; it must be a number"),
        ("{mode: [c]}", "'mode' is 'c'; it must be one of 'a', 'b'"),
        ("{mode: [yes]}", "'mode' is True; it must be one of 'a', 'b'"),
        ("{sizes: [3]}", "'sizes' is 3; it must be a list"),
        ("{free: [2020-01-01]}", "'free' is datetime.date"),
        ("{alhpa: [1]}", "unknown parameter 'alhpa' .* did you mean 'alpha'"),
    ],
)
def test_a_notebook_of_ones_own_refuses(text, message, tmp_path):
    notebook = write(tmp_path / "own.ipynb", RECORDS, parameters=OWN)
    file = tmp_path / "grid.yaml"
    file.write_text(f"grid: {text}")
    with pytest.raises(ValueError, match=message):
        grid.points_of(file, notebook)


def test_no_parameter_stands_in_the_place_of_a_number(tmp_path):
    (tmp_path / "grid.yaml").write_text("points: [{}]")
    for name in sorted(grid.COLUMNS):
        notebook = write(tmp_path / "own.ipynb", RECORDS, parameters=f"{name} = 1")
        with pytest.raises(ValueError, match=f"has a parameter '{name}'; .*value"):
            grid.points_of(tmp_path / "grid.yaml", notebook)


TWICE = [
    ("{grid: {seed: [1], seed: [2]}}", "'seed'", (1, 1)),
    ("grid: {seed: [1]}\nparameters: {}\n\ngrid: {seed: [2]}", "'grid'", (1, 4)),
    ("points:\n- seed: 1\n  'seed': 2", "'seed'", (2, 3)),
    ("points: [{1: 2, 0x1: 3}]", "1", (1, 1)),
    ("points:\n- a: {x: [{b: 1,\n    b: 1}]}", "'b'", (2, 3)),
    ("a: &a {x: 1}\nb: {<<: *a, y: 1,\n  y: 2}", "'y'", (2, 3)),
]


@pytest.mark.parametrize(("text", "name", "lines"), TWICE)
def test_a_key_given_twice_is_refused(text, name, lines, tmp_path):
    notebook = write(tmp_path / "own.ipynb", CODE, parameters=PARAMETERS)
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    message = f"grid.yaml .*{name} is given twice, in lines {lines[0]} and {lines[1]}"
    with pytest.raises(ValueError, match=message):
        grid.points_of(file, notebook)


KEYS = st.text("abc<", max_size=2) | st.integers(0, 3) | st.booleans()
YAML = st.recursive(
    KEYS, lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=3)
)


@hypothesis.given(YAML, st.booleans())
def test_what_gives_each_key_once_is_read_as_ever(tmp_path_factory, data, flow):
    file = tmp_path_factory.mktemp("yaml") / "a.yaml"
    file.write_text(yaml.safe_dump([data, data], default_flow_style=flow))  # with an anchor
    assert grid.read_yaml(file) == [data, data]


def test_merged_keys_may_be_overridden(tmp_path):
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: [*b, *a], z: 3, x: 4}\nd: *b\n"
    (tmp_path / "a.yaml").write_text(text)
    assert grid.read_yaml(tmp_path / "a.yaml") == yaml.safe_load(text)


def test_a_sweep_replaces_nothing_that_it_reads_or_that_is_anothers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    notebook = write(tmp_path / "report.ipynb", CODE, parameters=PARAMETERS)
    (tmp_path / "table.json").write_text(json.dumps(TWO))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.parquet").write_bytes(b"mine")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "table.json").symlink_to(tmp_path / "table.json")
    (tmp_path / "mine").mkdir()
    shutil.copy(notebook, tmp_path / "mine")
    content = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    mine = tmp_path / "mine" / "report.ipynb"
    for source, out in ((notebook, "."), (notebook, "other"), (notebook, "linked"), (mine, "mine")):
        words = ["sweep", str(source), "-f", str(tmp_path / "table.json")]
        assert cli.main([*words, "-o", str(tmp_path / out)]) == 2
        assert "would replace" in capsys.readouterr().err
    assert content == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_an_unreachable_scheduler_is_said_at_once(tmp_path, capsys):
    with socket.socket() as taken:  # bound, and listening to nobody
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        notebook, _, file = asked(tmp_path, THREE)
        words = ["sweep", str(notebook), "-f", str(file), "-o", str(tmp_path / "out")]
        start = time.monotonic()
        assert cli.main([*words, "--scheduler", address]) == 1
        assert time.monotonic() - start < 5
    assert f"dualdiff: no scheduler answers at {address}" in capsys.readouterr().err
    for bad in ("localhost:8786", "tcp://localhost", "http://a:1", "tcp://a:b"):
        assert cli.main([*words, "--scheduler", bad]) == 2
        assert "it must be like tcp://host:8786" in capsys.readouterr().err


def test_where_a_sweep_cannot_run(tmp_path, capsys, monkeypatch):
    notebook, _, file = asked(tmp_path, THREE)
    words = ["sweep", str(notebook), "-f", str(file), "-o", str(tmp_path / "out")]
    nothing, bad, good = (tmp_path / name for name in ("nothing", "bad.json", "good.json"))
    bad.write_text('{"id": 1}')
    good.write_text('{"address": "tcp://127.0.0.1:9"}')
    for given, message in (
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (["--retries", "-1"], "retries is -1"),
        (["--workers", "1", "--scheduler", "tcp://a:1"], "only one of workers, scheduler and"),
        (["--scheduler-file", str(nothing)], "scheduler_file is .*nothing; it must be a file that"),
        (["--scheduler-file", str(bad)], "scheduler_file is .*bad.json; it must be a file that"),
    ):
        assert cli.main([*words, *given]) == 2
        assert re.search(message, capsys.readouterr().err)
    assert cli.main([*words, "--scheduler-file", str(good)]) == 1
    assert "no scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main([*words, "--scheduler", "tcp://127.0.0.1:9"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("install it with: pip install 'dualdiff[sweep]'\n")


def test_record(tmp_path, monkeypatch):
    file = tmp_path / "table.parquet"
    good = pd.DataFrame({"what": ["a", "b"], "value": [1.0, 2.0]}, index=[7, 9])
    sweep.record(good)  # outside of a sweep: nothing to write
    monkeypatch.setenv(sweep.VARIABLE, str(file))
    for table, message in (
        (good.drop(columns="value"), "a column 'value'"),
        (good.iloc[:0], "0 rows"),
        (good.rename(columns={"what": 3}), "names must be text"),
        (good.astype({"value": str}), "must be numbers"),
        ({}, "0 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            sweep.record(table)
    assert not file.exists()
    sweep.record(good)
    pd.testing.assert_frame_equal(pd.read_parquet(file), good.reset_index(drop=True))
    with pytest.raises(RuntimeError, match="was called before"):
        sweep.record(good)


def test_columns_that_a_notebook_records_under_the_name_of_a_parameter(tmp_path):
    points = [grid.Point(str(seed), {"seed": seed, "distance": 1.0}, "") for seed in (0, 1)]
    recorded = pd.DataFrame({"distance": [1.0, 2.0], "value": [3.0, 4.0]})
    tables = {p.name: recorded.assign(seed=p.parameters["seed"]) for p in points}
    path = sweep.gather(Path("a.ipynb"), points, tables, tmp_path)
    table = pd.read_parquet(path)
    assert list(table) == ["seed", "distance", "recorded_distance", "value"]
    assert table["recorded_distance"].tolist() == [1.0, 2.0, 1.0, 2.0]


def test_report_tables():
    rows = [
        {"profile": "smoke", "seed": s, "distance": d, "quiet": True, "metric": m, "value": d + s}
        for d in (0.0, 1.0)
        for s in (0, 1)
        for m in ("a", "b")
    ]
    table = pd.DataFrame(rows)
    pooled = readings.means(table)
    assert list(pooled)[:2] == ["distance", "metric"] and readings.axis_of(pooled) == "distance"
    assert pooled["value"].tolist() == [0.5, 0.5, 1.5, 1.5] and pooled["seeds"].eq(2).all()
    half = 12.706204736 * 0.5**0.5 / 2**0.5
    assert pooled["high"].iloc[0] == pytest.approx(0.5 + half)
    # Two points that hold the same training run: it counts once.
    twice = pd.concat([table.assign(recorded_seed=1), table.assign(recorded_seed=table["seed"])])
    assert readings.means(twice)["seeds"].max() == 2


@pytest.mark.parametrize("varied", [{"distance": [0.0, 1.0]}, {"recipe": ["a", "b"]}, {}])
def test_small_multiples_of_any_table(varied):
    points = [{name: values[n] for name, values in varied.items()} for n in (0, 1)]
    table = pd.DataFrame(
        [{"seed": 0, "way": way, "value": 1.0} | point for point in points for way in "xy"]
    )
    pooled = readings.means(table)
    figure = small_multiples(pooled)
    (panel,) = figure.axes
    assert panel.get_xlabel() == next(iter(varied), "") and len(panel.containers) == 2
    plt.close(figure)
