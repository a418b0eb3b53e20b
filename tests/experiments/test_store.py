"""The store: made once, never half-read, whatever happens to the process or the file."""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.experiments import store as store_module
from dualdiff.experiments.store import Store, StoreWarning, key, versions
from dualdiff.experiments.workers import in_processes

CONFIG = {"recipe": "tuned", "rows": [1, 2], "rate": 1e-3, "ema": None}


def make_tensors():
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    return {
        "weights": weights,
        "transposed": weights.T,  # shares memory and is not contiguous
        "step": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "none": torch.empty(0, 3),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }


def make_table():
    return pd.DataFrame({"method": ["general", "joint"], "seed": [0, 1], "accuracy": [0.1, None]})


def same(a, b):
    if isinstance(a, pd.DataFrame):
        return a.equals(b) and (a.dtypes == b.dtypes).all()
    return a.keys() == b.keys() and all(
        torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a
    )


KINDS = {"tensors": (make_tensors, "safetensors"), "table": (make_table, "parquet")}


@pytest.fixture(params=KINDS)
def shelf(request, tmp_path):
    """(ask, path, calls): ask for one result, where it lies, one entry per making of it."""
    make, suffix = KINDS[request.param]
    store = Store(tmp_path)
    calls = []

    def ask(config=CONFIG):
        def counted():
            calls.append(config)
            return make()

        return getattr(store, request.param)("thing", config, counted)

    return ask, store.path("thing", CONFIG, suffix), calls


def test_made_once_then_loaded_equal(shelf):
    ask, path, calls = shelf
    make = make_table if path.suffix == ".parquet" else make_tensors
    assert not path.exists()
    made = ask()
    assert same(made, make()) and path.is_file()
    assert same(made, ask()) and len(calls) == 1
    assert not list(path.parent.glob("*.tmp")) + list(path.parent.glob(".*.tmp"))
    ask({**CONFIG, "rate": 2e-3})  # another file
    assert len(calls) == len(list(path.parent.glob("*" + path.suffix))) == 2


def expect_rebuilt(ask, path, calls, reason):
    before = len(calls)
    with pytest.warns(StoreWarning, match=reason) as caught:
        again = ask()
    assert str(path) in str(caught[0].message)
    assert len(calls) == before + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(again, ask())


@pytest.mark.parametrize("keep", [0, 5, 0.5, -1])
def test_truncated(shelf, keep):
    ask, path, calls = shelf
    ask()
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    expect_rebuilt(ask, path, calls, "damaged")
    assert path.with_name(path.name + ".damaged").exists()


def test_any_flipped_bit_is_noticed_or_harmless(shelf):
    ask, path, calls = shelf
    whole = ask()
    data = path.read_bytes()
    noticed = 0
    positions = random.Random(0).sample(range(8 * len(data)), 150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position in positions:
            damaged = bytearray(data)
            damaged[position // 8] ^= 1 << position % 8
            path.write_bytes(damaged)
            before = len(calls)
            assert same(ask(), whole)
            noticed += len(calls) > before
    assert noticed > 75  # the others hit padding or statistics that nobody reads


def test_file_of_another_configuration(shelf):
    ask, path, calls = shelf
    other = {**CONFIG, "rate": 2e-3}
    ask(other)
    os.replace(path.with_name(key(other) + path.suffix), path)
    expect_rebuilt(ask, path, calls, "foreign.*0.002")


@pytest.mark.filterwarnings("ignore::dualdiff.experiments.store.StoreWarning")
def test_file_of_another_program(shelf):
    import safetensors.torch

    ask, path, calls = shelf
    path.parent.mkdir()
    if path.suffix == ".parquet":
        make_table().to_parquet(path)
    else:
        safetensors.torch.save_file({"w": torch.zeros(2)}, path)
    assert same(ask(), ask()) and len(calls) == 1


CHILD = """
import os, sys, time
from pathlib import Path
import torch
from dualdiff.experiments.store import Store

root, mode = Path(sys.argv[1]), sys.argv[2]

def make():
    with open(root / "made", "a") as file:
        file.write("x")
    time.sleep(1.0 if mode == "slow" else 0.0)
    return {"weights": torch.arange(1000.0)}

def half_written(fd):
    os.ftruncate(fd, os.fstat(fd).st_size // 2)
    (root / "writing").touch()
    time.sleep(600)

if mode == "kill":
    os.fsync = half_written
(root / f"ready{os.getpid()}").touch()
total = Store(root).tensors("thing", {"a": 1}, make)["weights"].sum()
assert total == 499500, total
"""


def child(root: Path, mode: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(root), mode])


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_two_processes_make_it_once(tmp_path):
    processes = [child(tmp_path, "slow") for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def test_killed_while_writing(tmp_path):
    process = child(tmp_path, "kill")
    try:
        wait_for((tmp_path / "writing").exists)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    store, config = Store(tmp_path), {"a": 1}
    path = store.path("thing", config, "safetensors")
    (stale,) = path.parent.glob(".*.tmp")
    assert stale.stat().st_size > 0 and not path.exists()
    start = time.monotonic()
    expected = {"weights": torch.ones(2)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(store.tensors("thing", config, lambda: expected), expected)
    assert time.monotonic() - start < 10  # no lock was left behind
    assert path.exists() and not stale.exists()


def test_a_failing_maker_leaves_nothing(shelf, tmp_path):
    _, path, _ = shelf

    def fail():
        raise RuntimeError("no data")

    for method in ("tensors", "table"):
        with pytest.raises(RuntimeError, match="no data"):
            getattr(Store(tmp_path), method)("thing", CONFIG, fail)
        with pytest.raises(ValueError, match="make returned a int"):
            getattr(Store(tmp_path), method)("thing", CONFIG, lambda: 3)
    assert not path.exists() and not list(path.parent.glob(".*.tmp"))


@pytest.mark.parametrize(
    "config,where",
    [
        ({"a": {1, 2}}, r"config\['a'\] is a set"),
        ({"a": [0, {"b": torch.ones(1)}]}, r"config\['a'\]\[1\]\['b'\] is a Tensor"),
        ({"a": float("nan")}, "finite"),
        ({"a": float("inf")}, "finite"),
        ({1: "a"}, "names must be strings"),
        ({"a": b"x"}, "is a bytes"),
        ([1], "must be a dict"),
    ],
)
def test_configurations_are_json(config, where, tmp_path):
    for refused in (key, lambda c: Store(tmp_path).tensors("thing", c, make_tensors)):
        with pytest.raises(ValueError, match=where):
            refused(config)


@pytest.mark.parametrize("kind", ["", "../up", "a/b", "a b"])
def test_kinds_are_words(kind, tmp_path):
    with pytest.raises(ValueError, match="kind is"):
        Store(tmp_path).tensors(kind, CONFIG, make_tensors)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def reordered(value):
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(list(value))}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_key_does_not_depend_on_order(config):
    assert key(config) == key(reordered(config))
    assert key({**config, "more": 1}) != key({**config, "more": 2})


def test_key_tells_types_apart():
    assert len({key({"a": value}) for value in (1, 1.0, True, "1", [1], None)}) == 6
    assert key({"a": (1, 2)}) == key({"a": [1, 2]})


REAL = tempfile.TemporaryFile


def refuse(monkeypatch, *folders):
    """Let no file be made in the folders, as on a file system that is full or cannot be written.

    Permissions would not do it: who runs the tests may be above them.
    """

    def open_in(*, dir, **options):
        if any(Path(dir).is_relative_to(folder) for folder in folders):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return REAL(dir=dir, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", open_in)


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """No variable, a checkout and a user's cache of its own; gives both default folders."""
    monkeypatch.delenv("DUALDIFF_STORE", raising=False)
    monkeypatch.setattr(store_module, "PROJECT", tmp_path / "checkout")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(store_module, "_temporary", store_module._temporary.__wrapped__)
    return tmp_path / "checkout" / "_store", tmp_path / "cache" / "dualdiff" / "store"


def test_the_default_is_the_first_folder_that_can_be_written(unset, monkeypatch, tmp_path):
    checkout, cache = unset
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (Store().root, Store().shelf) == (checkout, None)
        refuse(monkeypatch, checkout)
        assert (Store().root, Store().shelf) == (cache, checkout)
    refuse(monkeypatch, checkout, cache)
    # The folder is that of a process: here, of a test.
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    with pytest.warns(StoreWarning, match="DUALDIFF_STORE") as caught:
        store = Store()
    assert str(store.root) in str(caught[0].message) and str(cache) in str(caught[0].message)
    assert same(store.table("thing", CONFIG, make_table), make_table())
    monkeypatch.setenv("DUALDIFF_STORE", "")  # set to nothing is not set
    refuse(monkeypatch)
    assert Store().root == checkout
    monkeypatch.setenv("DUALDIFF_STORE", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_read_only_checkout_has_is_used(unset, monkeypatch, kind):
    make, suffix = KINDS[kind]
    checkout, cache = unset
    there = getattr(Store(checkout), kind)("thing", CONFIG, make)
    refuse(monkeypatch, checkout)
    assert same(getattr(Store(), kind)("thing", CONFIG, pytest.fail), there)
    assert not list(cache.rglob(f"*.{suffix}"))
    # What is damaged there, or is not there, is made and kept where it can be written.
    (checkout / "thing" / f"{key(CONFIG)}.{suffix}").write_bytes(b"damaged")
    for config in (CONFIG, {"other": 1}):
        assert same(getattr(Store(), kind)("thing", config, make), there)
        assert same(getattr(Store(), kind)("thing", config, pytest.fail), there)
    # A worker that is handed the store has the same one.
    (again,) = in_processes(_same_place, [Store()], 2)
    assert again[1] == (cache, checkout)


def _same_place(store):
    return store.root, store.shelf


def test_a_named_folder_that_cannot_be_written_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    refuse(monkeypatch, tmp_path / "closed")
    for folder in (file, file / "below", tmp_path / "closed"):
        with pytest.raises(ValueError, match=rf"root is .*{folder.name}.*must be a folder"):
            Store(folder)
        monkeypatch.setenv("DUALDIFF_STORE", str(folder))
        with pytest.raises(ValueError, match=rf"DUALDIFF_STORE is .*{folder.name}.*unset it"):
            Store()
        assert Store(tmp_path / "open").root == tmp_path / "open"  # whatever the variable says


IN_A_BOX = """
import os
from dualdiff.experiments.store import Store
full = "/full/there"
for folder in ("/closed/store", full):
    try:
        print(Store(folder))
    except ValueError:
        print("refused")
    else:
        raise AssertionError(folder)
"""


def test_file_systems_that_are_read_only_or_full_are_found_out(tmp_path):
    """Also by a user whom no permission stops, and where names can be made but no contents."""
    box = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/mnt", "--ro-bind", str(tmp_path)]
    box += ["/mnt/closed", "--size", "16384", "--tmpfs", "/mnt/full"]
    code = IN_A_BOX.replace("/closed", "/mnt/closed").replace("/full", "/mnt/full")
    try:
        subprocess.run([*box, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("bubblewrap does not work here")
    run = subprocess.run([*box, sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["refused", "refused"], run.stderr


def test_a_file_that_cannot_be_written_whole_leaves_nothing(monkeypatch, tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        Store(tmp_path).table("thing", CONFIG, make_table)
    assert not [path for path in (tmp_path / "thing").iterdir() if path.suffix != ".lock"]


def test_versions():
    assert set(versions()) == {"dualdiff", "torch"}
    assert "+" not in versions()["torch"]
