"""Values and function calls between two processes that do not trust each other.

One message is one safetensors block: its header holds the message as JSON, its tensors are the
arrays in it. Nothing that arrives is executed, and nothing is pickled. What passes by value: None,
bool, int, float, str, tensors, NumPy arrays, ``torch.Generator`` (its state), lists, tuples and
dictionaries with strings as keys. A function passes as a number, and calling it asks the process
that owns it.
"""

from __future__ import annotations

import builtins
import json
import numbers
import socket
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

LARGEST = 256 * 2**20  # bytes of a message
_PREFIX = struct.Struct("<Q")

Message = dict[str, Any]


class Closed(ConnectionError):
    """The other process has ended, or sent what is no message."""


class Remote:
    """A function of the other process."""

    def __init__(self, line: Line, number: int, name: str) -> None:
        self._line, self._number = line, number
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._line.ask({"call": self._number, "args": args, "kwargs": kwargs})


class Line:
    """One end of the connection: asks, and answers what the other end asks meanwhile.

    Parameters
    ----------
    connection : socket
    answer : callable, optional
        From a message that is no function call to its result. By default all others are refused.
    around : callable, optional
        Gives the context in which functions run that the other end calls.
    """

    def __init__(
        self,
        connection: socket.socket,
        answer: Callable[[Message], Any] | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._around = around
        self._functions: list[Callable[..., Any]] = []

    def ask(self, message: Message) -> Any:
        """The other end's result for a message.

        Raises
        ------
        Closed
            If the other end ends first.
        Exception
            That the other end raised: the same class if it is a built-in one, else RuntimeError.
        """
        self._send(message)
        while True:
            reply = self._receive()
            if "result" in reply:
                return reply["result"]
            if "error" in reply:
                raise _exception(reply)
            self._serve(reply)

    def serve(self) -> None:
        """Answer until the other end closes the connection."""
        while True:
            try:
                message = self._receive()
            except Closed:
                return
            self._serve(message)

    def _serve(self, message: Message) -> None:
        try:
            if "call" in message:
                function = self._functions[int(message["call"])]
                with self._around():
                    result = function(*message.get("args", ()), **message.get("kwargs", {}))
            elif self._answer is not None:
                result = self._answer(message)
            else:
                raise ValueError(f"no answer to a message with {sorted(message)}")
            self._send({"result": result})
        except Closed:
            raise
        except Exception as error:
            kind = next(c.__name__ for c in type(error).__mro__ if hasattr(builtins, c.__name__))
            text = (
                str(error) if kind == type(error).__name__ else f"{type(error).__name__}: {error}"
            )
            self._send({"error": kind, "text": text[:10_000]})

    def _send(self, message: Message) -> None:
        tensors: dict[str, Tensor] = {}
        text = json.dumps(self._encoded(message, tensors))
        block = safetensors.torch.save(tensors, {"message": text})
        if len(block) > LARGEST:
            raise ValueError(f"{len(block):,} bytes are too much to hand over ({LARGEST:,})")
        try:
            self._connection.sendall(_PREFIX.pack(len(block)) + block)
        except OSError as error:
            raise Closed(str(error)) from error

    def _receive(self) -> Message:
        (size,) = _PREFIX.unpack(self._read(_PREFIX.size))
        if size > LARGEST:
            raise Closed(f"a message of {size:,} bytes")
        block = self._read(size)
        try:
            (header,) = _PREFIX.unpack(block[: _PREFIX.size])
            text = json.loads(block[_PREFIX.size : _PREFIX.size + header])
            message = json.loads(text["__metadata__"]["message"])
            decoded = self._decoded(message, safetensors.torch.load(block))
        # All that a forged block can make these raise; it counts as the end.
        except Exception as error:
            raise Closed(f"not a message: {error}") from error
        if not isinstance(decoded, dict):
            raise Closed("not a message")
        return decoded

    def _read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            try:
                part = self._connection.recv(min(missing, 2**20))
            except OSError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed("the other process has ended")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _encoded(self, value: Any, tensors: dict[str, Tensor]) -> Any:
        """A tree of JSON in which every list or dictionary says what it stands for."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, Tensor | np.ndarray | torch.Generator):
            name = str(len(tensors))
            kind, tensors[name] = _tensor(value)
            return {kind: name}
        if isinstance(value, np.generic | numbers.Real):
            plain = value.item() if isinstance(value, np.generic) else value
            return plain if isinstance(plain, int) else float(plain)
        if isinstance(value, list | tuple):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [self._encoded(item, tensors) for item in value]}
        if isinstance(value, dict):
            pairs = {_string(key): self._encoded(item, tensors) for key, item in value.items()}
            return {"dict": pairs}
        if isinstance(value, Remote):
            return {"yours": value._number}
        if callable(value):
            known = (n for n, function in enumerate(self._functions) if function is value)
            number = next(known, len(self._functions))
            if number == len(self._functions):
                self._functions.append(value)
            name = getattr(value, "__name__", type(value).__name__)
            return {"function": number, "name": str(name)}
        raise TypeError(f"a {type(value).__name__} cannot be handed to another process")

    def _decoded(self, tree: Any, tensors: dict[str, Tensor]) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind, inside = next(iter(tree.items()))
        if kind in ("list", "tuple"):
            items = [self._decoded(item, tensors) for item in inside]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {key: self._decoded(item, tensors) for key, item in inside.items()}
        if kind == "yours":
            return self._functions[inside]
        if kind == "function":
            return Remote(self, int(inside), str(tree["name"]))
        tensor = tensors[inside]
        if kind == "generator":
            generator = torch.Generator()
            generator.set_state(tensor)
            return generator
        return tensor.numpy() if kind == "array" else tensor


def _tensor(value: Tensor | np.ndarray[Any, Any] | torch.Generator) -> tuple[str, Tensor]:
    if isinstance(value, torch.Generator):
        return "generator", value.get_state()
    if isinstance(value, Tensor):
        return "tensor", value.detach().cpu().contiguous().clone()
    return "array", torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape).clone()


def _string(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} of a dictionary is not a string")
    return key


def _exception(reply: Message) -> Exception:
    kind = getattr(builtins, str(reply["error"]), RuntimeError)
    known = isinstance(kind, type) and issubclass(kind, Exception)
    text = str(reply.get("text", ""))
    try:
        return kind(text) if known else RuntimeError(text)
    except TypeError:  # such as UnicodeDecodeError, which wants more than a text
        return RuntimeError(f"{reply['error']}: {text}")
