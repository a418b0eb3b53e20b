"""What was handed in: the notebooks of a folder, of the folders and archives in it, and the rest.

Nothing is skipped in silence: what is no notebook has a reason. Links are not followed, and
archives are read in memory, within limits: nothing of them is ever written to the disk.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from dualdiff.teaching.reading import Unreadable, looks_like_one

WHOLE = 100 * 2**20  # bytes of a file that is read at all, with outputs
ARCHIVE = 100 * 2**20  # ... of an archive ...
UNPACKED = 2**30  # ... of all that is in it ...
MEMBERS = 2_000  # ... how many that may be ...
RATIO = 200  # ... how much smaller packing may have made one ...
DEPTH = 2  # ... and archives inside archives
# What programs leave beside a student's work: copies, and the history of versions.
_IGNORED = {".ipynb_checkpoints", "__macosx", "__pycache__", ".git", ".hg", ".svn"}
_IGNORED |= {".venv", "node_modules", ".ds_store", "thumbs.db", "desktop.ini"}
_ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zst")
# What lies beside what several authors handed in is a try if it has one of these ends.
_TRIES = (".doc", ".docx", ".htm", ".html", ".jl", ".m", ".odt", ".pdf", ".py", ".r", ".rtf")

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Piece:
    """One thing that was handed in.

    Attributes
    ----------
    path : Path
        Where it is; a member of an archive is said to be in a folder of the archive's name.
    label : str
        What it is called in the table.
    load : callable or None
        Gives its bytes, if it is to be marked.
    reason : str
        Why it is not.
    """

    path: Path
    label: str
    load: Callable[[], bytes] | None = None
    reason: str = ""


def label(path: str) -> str:
    """A path as text that every program keeps: each path has a label, and no two have the same.

    What cannot be printed is escaped: a byte that is not UTF-8 as in ``\\xfc``, a character as in
    ``\\u200b``.
    """
    return "".join(map(_escaped, path))


def _escaped(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # how Python carries the bytes of a name that are no UTF-8
        return f"\\x{ord(c) - 0xDC00:02x}"
    if c == "\\":
        return "\\\\"
    return c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 2**16 else f"\\U{ord(c):08x}"


@dataclass(frozen=True)
class _Seen:
    """Something in the folder: a notebook, what is refused for a reason, another file, no file."""

    parts: tuple[str, ...]
    path: Path
    kind: str  # notebook, refused, other, empty
    open: Open | None = None
    reason: str = ""

    @property
    def where(self) -> tuple[str, ...]:
        """The folder that it lies in, or is."""
        return self.parts if self.kind == "empty" else self.parts[:-1]


def handed_in(folder: Path, results: Path | None = None) -> tuple[list[Piece], list[str]]:
    """What a folder of submissions holds.

    An author's folder has one notebook and no folders: what lies beside it belongs to it. In any
    other that holds notebooks, as in the whole folder, each thing is somebody's: what may be a try,
    and every folder without a notebook, is a piece, with the reason why it is not marked.

    Parameters
    ----------
    folder : Path
    results : Path, optional
        Where the results are to be written.

    Returns
    -------
    list of Piece
        In the order of their paths.
    list of str
        What is ignored.

    Raises
    ------
    ValueError
        If it is no folder, holds nothing that was handed in, or would hold the results.
    """
    if not folder.is_dir():
        raise ValueError(f"the submissions are looked for in {folder}, which is not a folder")
    if results is not None and folder.resolve() in (results.resolve(), *results.resolve().parents):
        raise ValueError(
            f"the results cannot be written to {results}, which is in the folder of the "
            "submissions: they would be taken for some; choose another folder with -o"
        )
    ignored: list[str] = []
    seen = list(_walk(folder, ignored))
    pieces = [_piece(s) for s in seen if s.kind in ("notebook", "refused")]
    directly = Counter(s.parts[:-1] for s in seen if s.kind == "notebook")
    above = {parts[:n] for parts in directly for n in range(len(parts) + 1)}
    divided = {s.where[:n] for s in seen for n in range(len(s.where))}
    lost: dict[tuple[str, ...], list[_Seen]] = {}
    for s in seen:
        if s.kind not in ("other", "empty"):
            continue
        prefixes = [s.where[:n] for n in range(1, len(s.where) + 1)]
        top = next((prefix for prefix in prefixes if prefix not in above), None)
        its_own = s.where and directly[s.where] == 1 and s.where not in divided
        if top is not None:
            lost.setdefault(top, []).append(s)
        elif s.kind == "other" and not its_own and s.parts[-1].casefold().endswith(_TRIES):
            pieces.append(_piece(s))
        elif s.kind == "other":
            ignored.append(label("/".join(s.parts)))
    refused = [s.parts for s in seen if s.kind == "refused"]
    for top, found in lost.items():
        files = [s for s in found if s.kind == "other"]
        if len(files) == 1:
            pieces.append(_piece(files[0]))
        elif files:
            names = ", ".join(label(s.parts[-1]) for s in files[:5])
            more = f" and {len(files) - 5} more" if len(files) > 5 else ""
            reason = f"none of its files is a notebook (.ipynb): {names}{more}"
            pieces.append(Piece(folder.joinpath(*top), label("/".join(top)) + "/", None, reason))
        elif not any(parts[: len(top)] == top for parts in refused):
            reason = next((s.reason for s in found if s.reason), "the folder is empty")
            pieces.append(Piece(folder.joinpath(*top), label("/".join(top)) + "/", None, reason))
    if not pieces:
        raise ValueError(f"there is no notebook (.ipynb) in {label(str(folder))}")
    return _unique(sorted(pieces, key=lambda piece: piece.path.parts)), sorted(ignored)


def _piece(seen: _Seen) -> Piece:
    load = partial(_read, seen.open, WHOLE) if seen.kind == "notebook" and seen.open else None
    return Piece(seen.path, label("/".join(seen.parts)), load, seen.reason)


def _unique(pieces: list[Piece]) -> list[Piece]:
    """Members of an archive may have the same name."""
    count: dict[str, int] = {}
    found = []
    for piece in pieces:
        count[piece.label] = number = count.get(piece.label, 0) + 1
        more = f"#{number}" if number > 1 else ""
        found.append(Piece(piece.path, piece.label + more, piece.load, piece.reason))
    return found


def _walk(folder: Path, ignored: list[str]) -> Iterator[_Seen]:
    folders: list[tuple[str, ...]] = [()]
    while folders:
        inside = folders.pop()
        where = folder.joinpath(*inside)
        try:
            with os.scandir(where) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield _Seen(
                inside or (".",), where, "refused", None, f"it cannot be read: {error.strerror}"
            )
            continue
        left = ""
        empty = True
        for entry in entries:
            parts, path = (*inside, entry.name), where / entry.name
            if entry.is_symlink():
                reason = "it is a link, and links are not followed"
                yield _Seen(parts, path, "refused", None, reason)
            elif _ignored(entry.name):
                ignored.append(label("/".join(parts)))
                left = f"there is only {label(entry.name)}, which holds no submissions"
                continue
            elif entry.is_dir(follow_symlinks=False):
                folders.append(parts)
            elif not entry.is_file(follow_symlinks=False):
                reason = "it is not a file but a pipe, a socket or a device"
                yield _Seen(parts, path, "refused", None, reason)
            else:
                opens = partial(_on_disk, path)
                yield from _file(parts, path, opens, opens, ignored, 0)
            empty = False
        if empty:
            yield _Seen(inside, where, "empty", None, left)


def _ignored(name: str) -> bool:
    return name.casefold() in _IGNORED or name.startswith(("._", ".~lock.", "~$"))


def _on_disk(path: Path) -> IO[bytes]:
    # It may have been replaced by a link or a pipe since it was found.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = open(os.open(path, os.O_RDONLY | flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unreadable("it is not a file")
    return file


def _read(opens: Open, limit: int) -> bytes:
    with opens() as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"the file has more than {limit / 2**20:.0f} MiB")
    return data


def _is_notebook(opens: Open) -> bool:
    with opens() as file:
        head = file.read(256)
        # In any of the encodings of Unicode.
        start = head.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")
        return start.startswith(b"{") and looks_like_one(head + file.read(WHOLE))


def _file(
    parts: tuple[str, ...], path: Path, opens: Open, now: Open, ignored: list[str], depth: int
) -> Iterator[_Seen]:
    """What a file is, by its name and then by what is in it: it opens later, and `now`."""
    name = parts[-1].casefold()
    if name.endswith(".ipynb"):
        yield _Seen(parts, path, "notebook", opens)
    elif name.endswith(".zip"):
        try:
            # All of it before anything is yielded: a damaged archive is one piece.
            yield from list(_members(parts, path, opens, now, ignored, depth))
        except Exception as error:  # zipfile raises many, for archives that are made to harm too
            why = (
                str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
            )
            yield _Seen(parts, path, "refused", None, f"the archive cannot be read ({why})")
    elif name.endswith(_ARCHIVES):
        reason = "it is an archive of a kind that is not read; unpack it, or pack it as .zip"
        yield _Seen(parts, path, "refused", None, reason)
    else:
        try:
            if _is_notebook(now):
                yield _Seen(parts, path, "notebook", opens)
                return
            what = "a script" if name.endswith(".py") else "a file of another kind"
            reason = f"it is {what}, not a notebook (.ipynb)"
        except Exception as error:  # as above
            reason = f"it is not a notebook (.ipynb), and cannot be read: {error}"
        yield _Seen(parts, path, "refused" if ".ipynb" in name else "other", None, reason)


def _members(
    parts: tuple[str, ...], path: Path, opens: Open, now: Open, ignored: list[str], depth: int
) -> Iterator[_Seen]:
    if depth == DEPTH:
        raise Unreadable("too many archives lie inside each other; unpack it")
    try:
        data = _read(now, ARCHIVE)
    except Unreadable as error:
        raise Unreadable(f"{error}; unpack it") from None
    if data.count(b"PK\x01\x02") > 2 * MEMBERS:  # before zipfile makes an object of each
        raise Unreadable(f"it holds more than {MEMBERS:,} files; unpack it")
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        members = list(enumerate(files.infolist()))
        if len(members) > MEMBERS:
            raise Unreadable(f"it holds {len(members):,} files, more than {MEMBERS:,}; unpack it")
        if sum(info.file_size for _, info in members) > UNPACKED:
            raise Unreadable(f"it has more than {UNPACKED / 2**30:g} GiB in it; unpack it")
        empty = True
        for number, info in members:
            steps = _name(info).replace("\\", "/").split("/")
            inside = tuple(step for step in steps if step not in ("", ".")) or ("?",)
            here, place = (*parts, *inside), path / f"{number:05d}" / inside[-1]
            if any(map(_ignored, inside)):
                ignored += [] if info.is_dir() else [label("/".join(here))]
                continue
            if info.is_dir():  # if it is not empty, what is in it tells
                yield _Seen(here, place, "empty")
                continue
            empty = False
            if stat.S_ISLNK(info.external_attr >> 16):
                reason = "it is a link in an archive, and links are not followed"
                yield _Seen(here, place, "refused", None, reason)
            elif info.flag_bits & 1:
                yield _Seen(here, place, "refused", None, "it is locked with a password")
            else:
                later = partial(_in_archive, opens, number)
                yield from _file(
                    here, place, later, partial(_unpacked, files, info), ignored, depth + 1
                )
        if empty:
            raise Unreadable("there is nothing in it")


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member, which many programs write in UTF-8 without saying so."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _in_archive(archive: Open, number: int) -> IO[bytes]:
    try:
        with archive() as file, zipfile.ZipFile(file) as files:  # it reads what it needs
            return io.BytesIO(_read(partial(_unpacked, files, files.infolist()[number]), WHOLE))
    except (Unreadable, OSError):
        raise
    except Exception as error:
        raise Unreadable(f"it cannot be unpacked ({type(error).__name__}: {error})") from None


def _unpacked(files: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.file_size > 2**20 and info.file_size > RATIO * info.compress_size:
        raise Unreadable(f"it unpacks to more than {RATIO} times its size")
    return files.open(info)
