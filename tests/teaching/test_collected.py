"""Whatever is in a folder of submissions is marked, or has a reason, or is named as ignored."""

import contextlib
import io
import json
import os
import re
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.teaching import collected
from dualdiff.teaching.collected import handed_in, label
from dualdiff.teaching.reading import Unreadable, notebook_in

CELL = {"cell_type": "code", "source": "x = 1", "metadata": {}}
NOTEBOOK = json.dumps({"cells": [CELL], "metadata": {}, "nbformat": 4}).encode()


def put(folder: Path, files: dict[str, bytes | None]) -> Path:
    """Write files; a folder for what is None."""
    for name, data in files.items():
        path = folder / name
        (path if data is None else path.parent).mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)
    return folder


def archive(files: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as members:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            members.writestr(info, content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def found(folder: Path) -> tuple[dict[str, bool], dict[str, str]]:
    """Which labels are marked, and the reasons of those that are not."""
    pieces, _ = handed_in(folder)
    assert len({p.label for p in pieces}) == len({p.path for p in pieces}) == len(pieces)
    assert all((p.load is None) == bool(p.reason) for p in pieces)
    for piece in pieces:
        if piece.load is not None:
            notebook_in(piece.load())
    return {p.label: p.load is not None for p in pieces}, {p.label: p.reason for p in pieces}


MARKED = {
    "ada/lab.ipynb": NOTEBOOK,
    "bob/lab.ipynb.txt": NOTEBOOK,
    "cleo/LAB.IPYNB": NOTEBOOK,
    "dan/lab.json": b"\xef\xbb\xbf" + NOTEBOOK,
    "eve/lab": NOTEBOOK.decode().encode("utf-16"),
    "fay/lab.py": b"\n " + NOTEBOOK,
    ".gus/.lab.ipynb": NOTEBOOK,
    "hal.ipynb": NOTEBOOK,
    "class A/ida/week 1/lab.ipynb": NOTEBOOK,
}
NOT_MARKED = {
    "jim/lab.py": (b"print(1)", "jim/lab.py", "a script"),
    "kim/lab.pdf": (b"%PDF", "kim/lab.pdf", "not a notebook"),
    "leo": (None, "leo/", "the folder is empty"),
    "mia/a/b": (None, "mia/", "the folder is empty"),
    "ned/.ipynb_checkpoints/lab-checkpoint.ipynb": (NOTEBOOK, "ned/", "only .ipynb_checkpoints"),
    "class A/ola/lab.html": (b"<html>", "class A/ola/lab.html", "not a notebook"),
    "pia/lab.rar": (b"Rar!", "pia/lab.rar", "of a kind that is not read"),
    "quy/lab.zip": (b"PK nothing", "quy/lab.zip", "cannot be read"),
    "roy.py": (b"print(1)", "roy.py", "a script"),
    "sam/data.json": (b'{"a": 1}', "sam/data.json", "not a notebook"),
    "ada/old.ipynb.bak": (b"", "ada/old.ipynb.bak", "not a notebook"),
}


def test_what_is_a_notebook_is_marked_and_what_is_none_says_why(tmp_path):
    files = MARKED | {name: data for name, (data, _, _) in NOT_MARKED.items()}
    marked, reasons = found(put(tmp_path, files))
    expected = dict.fromkeys(MARKED, True) | {row: False for _, row, _ in NOT_MARKED.values()}
    assert marked == expected
    for _, row, words in NOT_MARKED.values():
        assert words in reasons[row]


def test_what_lies_beside_submissions_is_named_as_ignored(tmp_path):
    beside = ["ada/helper.py", "ada/data.csv", "notes.txt", "ada/.ipynb_checkpoints", ".git"]
    files = {name: b"x" for name in beside if "." in name[1:] and "check" not in name}
    files |= {"ada/.ipynb_checkpoints/l.ipynb": NOTEBOOK, ".git/config": b"x"}
    put(tmp_path, {"ada/lab.ipynb": NOTEBOOK} | files)
    pieces, ignored = handed_in(tmp_path)
    assert [p.label for p in pieces] == ["ada/lab.ipynb"] and ignored == sorted(beside)


def test_a_folder_of_many_other_files_is_one_row(tmp_path):
    put(tmp_path, {f"ada/{n}.png": b"x" for n in range(9)} | {"ben.ipynb": NOTEBOOK})
    marked, reasons = found(tmp_path)
    assert marked == {"ada/": False, "ben.ipynb": True}
    assert "0.png, 1.png, 2.png, 3.png, 4.png and 4 more" in reasons["ada/"]


CLASS = {"ada.ipynb": NOTEBOOK, "cleo.py": b"x", "dan/x.pdf": b"x", "fay/a.py": b"x"}
CLASS |= {"fay/b.py": b"x", "notes.txt": b"x"}


@pytest.mark.parametrize("wrapped", ["", "class/", "a/class/", "zip", "zip in class/"])
@pytest.mark.parametrize("more", [{}, {"ben.ipynb": NOTEBOOK}, {"ben/l.ipynb": NOTEBOOK}])
def test_what_wraps_a_class_swallows_nobody(tmp_path, wrapped, more):
    """The same rows and ignored files as without the folder or archive around them."""
    files = CLASS | more | {"eve/": None}
    if "zip" in wrapped:
        place = wrapped.partition(" in ")[2]
        packed = {name: data or b"" for name, data in files.items()}
        put(tmp_path, {f"{place}all.zip": archive(packed)})
        place += "all.zip/"
    else:
        put(tmp_path, {f"{wrapped}{name}": data for name, data in files.items()})
        place = wrapped
    marked, _ = found(tmp_path)
    rows = {"cleo.py": False, "dan/x.pdf": False, "fay/": False, "eve/": False}
    rows |= dict.fromkeys(["ada.ipynb", *more], True)
    assert marked == {f"{place}{name}": value for name, value in rows.items()}
    assert handed_in(tmp_path)[1] == [f"{place}notes.txt"]


trees = st.recursive(
    st.sampled_from([NOTEBOOK, b"x", None]),
    lambda inside: st.dictionaries(
        st.sampled_from(["a.ipynb", "b.py", "c.pdf", "d.csv", "e", "f"]), inside, max_size=4
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("klm"), trees, min_size=1))
def test_nothing_below_a_folder_of_several_authors_is_without_a_row(tmp_path_factory, tree):
    """Every file and every empty folder is marked, has a reason or is named, alone or in one."""
    folder = tmp_path_factory.mktemp("in")
    everything = []

    def write(path: Path, what):
        if isinstance(what, dict) or what is None or path.suffix == "":
            path.mkdir()
            for name, inside in (what if isinstance(what, dict) else {}).items():
                write(path / name, inside)
        else:
            path.write_bytes(what)
        if path.is_file() or not any(path.iterdir()):
            everything.append(path)

    for name, inside in tree.items():
        write(folder / name, inside)
    pieces, ignored = handed_in(folder)
    files = [p for p in everything if p.is_file()]
    notebooks = {p for p in files if p.suffix == ".ipynb" or p.read_bytes() == NOTEBOOK}
    shared = {above for p in notebooks for above in p.parents} | {folder}
    rows = {p.path for p in pieces}
    for path in everything:
        named = path in files and label(path.relative_to(folder).as_posix()) in ignored
        if path.parent in shared:
            assert path in rows or named
        else:  # in the folder of one who has no notebook
            (top,) = [p for p in (path, *path.parents) if p.parent in shared and p not in shared]
            assert top in rows or any(top in row.parents for row in rows)
        if named and path.suffix in (".py", ".pdf"):
            # It lies beside the only notebook of a folder without others.
            inside = list(path.parent.iterdir())
            assert len(notebooks & {*inside}) == 1 and not any(p.is_dir() for p in inside)


def test_folders_without_submissions_or_for_results_are_refused(tmp_path):
    for files in ({}, {"notes.txt": b"x"}):
        with pytest.raises(ValueError, match="there is no notebook"):
            handed_in(put(tmp_path, files))
    with pytest.raises(ValueError, match="which is not a folder"):
        handed_in(tmp_path / "nowhere")
    put(tmp_path, {"in/ada.ipynb": NOTEBOOK})
    for out in ("in", "in/out", "in/../in/a/b"):
        with pytest.raises(ValueError, match="choose another folder"):
            handed_in(tmp_path / "in", tmp_path / out)
    for out in ("", "in-marks", "out"):
        assert len(handed_in(tmp_path / "in", tmp_path / out)[0]) == 1


def test_links_pipes_and_folders_are_no_submissions(tmp_path):
    secret = put(tmp_path / "secret", {"solutions.ipynb": NOTEBOOK}) / "solutions.ipynb"
    packed = archive({"lab.ipynb": str(secret).encode()}, stat.S_IFLNK | 0o777)
    files = {"a.ipynb": None, "ada/lab.ipynb": NOTEBOOK, "m/m.zip": packed}
    folder = put(tmp_path / "in", files)
    os.mkfifo(folder / "b.ipynb")  # reading it would never end
    (folder / "c.ipynb").symlink_to(secret)
    (folder / "ada" / "d.ipynb").symlink_to("nowhere")
    (folder / "e").symlink_to(secret.parent, target_is_directory=True)
    marked, reasons = found(folder)
    assert marked == {"ada/lab.ipynb": True} | dict.fromkeys(
        ["a.ipynb/", "b.ipynb", "c.ipynb", "ada/d.ipynb", "e", "m/m.zip/lab.ipynb"], False
    )
    assert all("link" in reasons[name] for name in ("c.ipynb", "e", "m/m.zip/lab.ipynb"))
    assert "pipe" in reasons["b.ipynb"]


def test_what_becomes_a_link_after_it_was_found_is_not_followed(tmp_path):
    secret = put(tmp_path / "secret", {"s.ipynb": NOTEBOOK}) / "s.ipynb"
    path = put(tmp_path / "in", {"a.ipynb": NOTEBOOK}) / "a.ipynb"
    ((piece,), _) = handed_in(path.parent)
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(OSError):
        piece.load()


def test_archives_are_looked_into(tmp_path):
    inner = {"x/lab.ipynb": NOTEBOOK, "__MACOSX/._lab.ipynb": b"x", "Лаб\\ы.ipynb": NOTEBOOK}
    files = {
        "bob.zip": archive(inner | {"helper.py": b"x"}),
        "cleo/all.ZIP": archive({"two.zip": archive({"lab.json": NOTEBOOK})}),
        "dan/lab.zip": archive({"lab.py": b"print(1)"}),
        "eve/empty.zip": archive({}),
        "fay/evil.zip": archive({"../../lab.ipynb": NOTEBOOK, "/etc/lab.ipynb": NOTEBOOK}),
    }
    before = sorted(put(tmp_path, files).rglob("*"))
    marked, reasons = found(tmp_path)
    assert marked == {
        "bob.zip/x/lab.ipynb": True,
        "bob.zip/Лаб/ы.ipynb": True,
        "bob.zip/helper.py": False,  # beside folders: nobody knows whose it is
        "cleo/all.ZIP/two.zip/lab.json": True,
        "dan/lab.zip/lab.py": False,
        "eve/empty.zip": False,
        "fay/evil.zip/../../lab.ipynb": True,
        "fay/evil.zip/etc/lab.ipynb": True,
    }
    assert "there is nothing in it" in reasons["eve/empty.zip"]
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


def test_archives_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(collected, "MEMBERS", 50)
    monkeypatch.setattr(collected, "UNPACKED", 2**23)
    many = archive({f"{n}.ipynb": b"x" for n in range(51)})
    more = archive({f"{n}.ipynb": b"x" for n in range(101)})
    large = archive({f"{n}.ipynb": bytes(2**22) for n in range(3)})
    deep = archive({"a.zip": archive({"b.zip": archive({"c.ipynb": NOTEBOOK})})})
    files = {"many.zip": many, "more.zip": more, "large.zip": large, "deep.zip": deep}
    reasons = {p.label: p.reason for p in handed_in(put(tmp_path, files))[0]}
    assert "51 files, more than 50" in reasons["many.zip"] and "more than 50" in reasons["more.zip"]
    assert "in it; unpack it" in reasons["large.zip"]
    assert "inside each other" in reasons["deep.zip/a.zip/b.zip"]


def test_what_is_huge_or_was_packed_too_well_is_not_read(tmp_path):
    with (tmp_path / "a.ipynb").open("wb") as file:
        file.truncate(collected.WHOLE + 2**20)
    put(tmp_path, {"a.zip": archive({"bomb.ipynb": bytes(2**22)})})
    pieces = {piece.label: piece for piece in handed_in(tmp_path)[0]}
    for name, words in {
        "a.ipynb": "the file has more than 100 MiB",
        "a.zip/bomb.ipynb": "200",
    }.items():
        with pytest.raises(Unreadable, match=words):
            pieces[name].load()


def test_an_archive_is_not_read_anew_for_each_of_its_members(tmp_path, monkeypatch):
    files = {f"{n}.ipynb": NOTEBOOK for n in range(20)}
    put(tmp_path, {"a.zip": archive(files | {"data.bin": os.urandom(2**22)})})
    read = []

    class Counted(io.FileIO):
        def readinto(self, buffer):
            read.append(super().readinto(buffer))
            return read[-1]

    def counted(path):
        return io.BufferedReader(Counted(path))

    for number in range(len(files)):
        collected._in_archive(lambda: counted(tmp_path / "a.zip"), number).close()
    assert 0 < sum(read) < 2**22


@given(st.data())
def test_a_damaged_archive_is_one_row_or_read(data):
    """Whatever bytes of it are changed or cut: an end of the others it is never."""
    good = bytearray(archive({"a.ipynb": NOTEBOOK, "b.txt": b"x" * 99}))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    seen = list(collected._file(("x.zip",), Path("x.zip"), *[lambda: io.BytesIO(cut)] * 2, [], 0))
    assert seen
    for s in seen:
        with contextlib.suppress(Unreadable, OSError):
            s.open() if s.kind == "notebook" else None


def unlabelled(text: str) -> str:
    """The path of a label."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "\\\\":
            return "\\"
        code = int(found[0][2:], 16)
        return chr(code + 0xDC00) if found[0][1] == "x" else chr(code)

    return re.sub(r"\\\\|\\x..|\\u....|\\U.{8}", one, text)


# What a name on a disk may be: bytes without zero and slash, as Python decodes them.
names = st.binary(min_size=1, max_size=40).filter(lambda b: not {0, 47} & set(b)).map(os.fsdecode)


@given(names | st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_label_can_be_written_and_stands_for_one_path(name):
    text = label(name)
    assert text.isprintable() and text.encode("utf-8").decode("utf-8") == text
    assert unlabelled(text) == name
