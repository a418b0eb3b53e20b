"""Results kept on disk under the hash of what made them: weights and tables.

A result is asked for with its configuration and a function that makes it. Whoever asks first makes
it, under a lock that the operating system releases if the holder dies; everybody else waits and
loads. Tensors are safetensors and tables parquet, both with the configuration and a digest of the
contents inside: a damaged file or one made from something else is set aside and rebuilt.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from filelock import FileLock
from torch import Tensor

import dualdiff
from dualdiff.experiments.provenance import COPY, PROJECT
from dualdiff.files import Tensors, digest, unpack, write

STORE = "_store"
"""Folder of the checkout: not in ``_build``, which jupyter-book empties."""
T = TypeVar("T")


class StoreWarning(UserWarning):
    """A stored file could not be used and is made again, or a store is not kept."""


class _Unusable(Exception):
    """Why a stored file cannot be used."""


def versions() -> dict[str, str]:
    """Versions of this package and of torch, to put into a configuration."""
    return {"dualdiff": dualdiff.__version__, "torch": torch.__version__.split("+")[0]}


def key(config: dict[str, Any]) -> str:
    """The name of a configuration: SHA-256 of its canonical JSON, 64 hexadecimal digits.

    The order of names does not matter; a tuple counts as a list; 1, 1.0 and True differ.

    Raises
    ------
    ValueError
        If something in it is not JSON.
    """
    return hashlib.sha256(_canonical(config).encode()).hexdigest()


@dataclass(frozen=True, init=False)
class Store:
    """A folder of results.

    Parameters
    ----------
    root : path, optional
        By default the environment variable ``DUALDIFF_STORE``, else ``_store`` of the
        checkout that holds this package. Where that cannot be written, and without a checkout, a
        folder in the user's cache; where that cannot be written either, a temporary one.

    Attributes
    ----------
    root : Path
    shelf : Path or None
        The checkout's store where it cannot be written: what is there already is still read.

    Raises
    ------
    ValueError
        If nothing can be written to the folder that ``root`` or the variable names.
    """

    root: Path
    shelf: Path | None

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        given, name, instead = root, "root", ""
        if root is None:
            given = os.environ.get("DUALDIFF_STORE") or None
            name, instead = "DUALDIFF_STORE", ", or unset it to use the default"
        found, shelf = (Path(given).expanduser(), None) if given is not None else _default()
        if given is not None and (error := _refusal(found)):
            raise ValueError(
                f"{name} is {str(found)!r}, where nothing can be written ({error}); it must be a "
                f"folder in which you may write{instead}"
            )
        object.__setattr__(self, "root", found)
        object.__setattr__(self, "shelf", shelf)

    def path(self, kind: str, config: dict[str, Any], suffix: str) -> Path:
        """Where the result of a configuration lies, whether or not it is there.

        Raises
        ------
        ValueError
            If `kind` is not a plain word, or `config` is not JSON.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", kind):
            raise ValueError(f"kind is {kind!r}; it must be letters, digits, '-' and '_'")
        return self.root / kind / f"{key(config)}.{suffix}"

    def tensors(self, kind: str, config: dict[str, Any], make: Callable[[], Tensors]) -> Tensors:
        """Named tensors, loaded if they are stored, else made and stored.

        Parameters
        ----------
        kind : str
            A word for what they are, such as ``"network"``; a folder of the store.
        config : dict
            All that they depend on, as JSON.
        make : callable
            Makes them; on any device, returned on the CPU.

        Raises
        ------
        ValueError
            If `config` is not JSON or `make` returns something else.
        """
        path = self.path(kind, config, "safetensors")
        return self._kept(path, config, make, _encode_tensors, _decode_tensors)

    def table(
        self, kind: str, config: dict[str, Any], make: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """A table, loaded if it is stored, else made and stored; arguments as in `tensors`."""
        path = self.path(kind, config, "parquet")
        return self._kept(path, config, make, _encode_table, _decode_table)

    def has(self, kind: str, config: dict[str, Any], suffix: str = "safetensors") -> bool:
        """Whether there is a file of these tensors, damaged or not; ``parquet``: of this table."""
        path = self.path(kind, config, suffix)
        shelves = [path] if self.shelf is None else [path, self.shelf / path.relative_to(self.root)]
        return any(place.exists() for place in shelves)

    @contextmanager
    def held(self, kind: str, configs: Iterable[dict[str, Any]]) -> Iterator[None]:
        """Keep all others from making these tensors meanwhile; who asks here is let through."""
        with ExitStack() as locks:
            # All take them in one order, so that nobody waits for one who waits for him.
            for path in sorted(self.path(kind, config, "safetensors") for config in configs):
                path.parent.mkdir(parents=True, exist_ok=True)
                locks.enter_context(_lock(path))
            yield

    def _kept(
        self,
        path: Path,
        config: dict[str, Any],
        make: Callable[[], T],
        encode: Callable[[T, str], bytes],
        decode: Callable[[bytes, str], T],
    ) -> T:
        text = _canonical(config)
        if self.shelf is not None and not path.exists():
            with suppress(Exception):  # absent or damaged: it cannot be mended there
                return decode((self.shelf / path.relative_to(self.root)).read_bytes(), text)
        return _stored(path, text, make, encode, decode)


def _default() -> tuple[Path, Path | None]:
    """The root and the shelf of a store for which nobody has named a folder."""
    shelf = None
    if PROJECT != COPY:
        shelf = PROJECT / STORE
        if _refusal(shelf) is None:
            return shelf, None
    from platformdirs import user_cache_path

    root = user_cache_path("dualdiff") / "store"
    error = _refusal(root)
    return (_temporary(root, error) if error else root), shelf


def _refusal(folder: Path) -> str | None:
    """What keeps us from writing to a folder, found by trying: permissions do not tell it all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**16))  # a full one takes names and no contents
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


@functools.cache
def _temporary(root: Path, error: str) -> Path:
    """One folder for all stores of this process."""
    folder = Path(tempfile.mkdtemp(prefix="dualdiff-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    message = (
        f"nothing can be written to {root} ({error}): results are kept in {folder} until this "
        "process ends; set DUALDIFF_STORE to a folder in which you may write to keep them longer"
    )
    warnings.warn(message, StoreWarning, stacklevel=4)
    return folder


def _canonical(config: dict[str, Any]) -> str:
    if not isinstance(config, dict):
        raise ValueError(f"config is {config!r}; it must be a dict")
    _check_json(config, "config")
    return json.dumps(config, sort_keys=True, separators=(",", ":"))


def _check_json(value: Any, where: str) -> None:
    # json itself would turn the name 1 into "1" and write NaN, which is not JSON.
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise ValueError(f"{where} has the name {name!r}; names must be strings")
            _check_json(item, f"{where}[{name!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]")
    elif isinstance(value, float) and value - value != 0:
        raise ValueError(f"{where} is {value!r}; JSON has finite numbers only")
    elif not (value is None or isinstance(value, str | bool | int | float)):
        raise ValueError(f"{where} is a {type(value).__name__}, {value!r}; it must be JSON")


def _lock(path: Path) -> FileLock:
    """One for everybody in this process: who holds it may take it again."""
    return FileLock(path.with_name(path.name + ".lock"), is_singleton=True)


def _stored(
    path: Path,
    config: str,
    make: Callable[[], T],
    encode: Callable[[T, str], bytes],
    decode: Callable[[bytes, str], T],
) -> T:
    """Load `path`, or make, write and load it: one of all who ask makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        for stale in path.parent.glob(f".{path.name}.*.tmp"):  # of a writer that was killed
            stale.unlink()
        if path.exists():
            try:
                return decode(path.read_bytes(), config)
            except Exception as error:  # parsers of damaged bytes raise whatever they like
                reason = str(error) if isinstance(error, _Unusable) else f"damaged ({error})"
                aside = path.with_name(path.name + ".damaged")
                os.replace(path, aside)
                message = f"{path}: {reason}; set aside as {aside.name} and made again"
                warnings.warn(message, StoreWarning, stacklevel=3)
        data = encode(make(), config)
        write(path, data)
        # What is returned is what any later call loads, to the last bit and type.
        return decode(data, config)


def _verify(config: str, stored_config: str | None, digest: str, stored_digest: str | None) -> None:
    if stored_config is None or stored_digest is None:
        raise _Unusable("not a file of this store")
    if digest != stored_digest:
        raise _Unusable("damaged (its contents do not match their digest)")
    if stored_config != config:
        raise _Unusable(f"foreign (made from {stored_config}, not from what was asked)")


def _encode_tensors(tensors: Tensors, config: str) -> bytes:
    named = isinstance(tensors, dict) and all(isinstance(name, str) for name in tensors)
    if not named or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise ValueError(f"make returned a {type(tensors).__name__}; it must be named tensors")
    # Copies: safetensors refuses tensors that share memory or are not laid out in order.
    plain = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    return safetensors.torch.save(plain, {"config": config, "sha256": digest(plain)})


def _decode_tensors(data: bytes, config: str) -> Tensors:
    tensors, header = unpack(data)
    _verify(config, header.get("config"), digest(tensors), header.get("sha256"))
    return tensors


def _encode_table(frame: pd.DataFrame, config: str) -> bytes:
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"make returned a {type(frame).__name__}; it must be a DataFrame")
    table = pa.Table.from_pandas(frame)
    ours = {b"config": config.encode(), b"sha256": _digest_table(table.to_pandas()).encode()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **ours})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, write_page_checksum=True)
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def _decode_table(data: bytes, config: str) -> pd.DataFrame:
    # The page checksums do not cover the footer (names, types), the digest does.
    table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    header = {name.decode(): text.decode() for name, text in table.schema.metadata.items()}
    frame = table.to_pandas()
    _verify(config, header.get("config"), _digest_table(frame), header.get("sha256"))
    return frame


def _digest_table(frame: pd.DataFrame) -> str:
    names = [[str(name), str(dtype)] for name, dtype in frame.dtypes.items()]
    names.append([str(frame.index.names), str(frame.index.dtype)])
    digest = hashlib.sha256(json.dumps(names).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=True).to_numpy().tobytes())
    return digest.hexdigest()
