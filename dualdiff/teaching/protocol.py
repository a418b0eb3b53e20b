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
# Our own, because the process that plays a notebook shares these modules with it.
_written, _parsed = json.JSONEncoder().encode, json.JSONDecoder().decode
_array, _from_numpy = np.array, torch.from_numpy
_class_name = vars(type)["__name__"].__get__

Message = dict[str, Any]


class Closed(ConnectionError):
    """The other process has ended, or sent what is no message."""


class Silent(Closed):
    """The other process did not answer in the time that its connection allows."""


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
        From a message to the context in which its result is found and written down.
    """

    def __init__(
        self,
        connection: socket.socket,
        answer: Callable[[Message], Any] | None = None,
        around: Callable[[Message], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        # Bound now: a notebook may change the class of sockets.
        self._recv, self._sendall = connection.recv, connection.sendall
        self._end: Closed | None = None
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
        self._send(self._block(message))
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
            with self._around(message):
                block = self._found(message)
        except Closed:
            raise
        except Exception as error:  # of the context, such as an end to waiting
            block = self._block(_said(error))
        self._send(block)

    def _found(self, message: Message) -> bytes:
        """What is sent in reply."""
        try:
            if "call" in message:
                function = self._functions[int(message["call"])]
                result = function(*message.get("args", ()), **message.get("kwargs", {}))
            elif self._answer is not None:
                result = self._answer(message)
            else:
                raise ValueError(f"no answer to a message with {sorted(message)}")
            return self._block({"result": result})
        except Closed:
            raise
        except Exception as error:
            return self._block(_said(error))

    def _block(self, message: Message) -> bytes:
        tensors: dict[str, Tensor] = {}
        text = _written(self._encoded(message, tensors))
        block: bytes = safetensors.torch.save(tensors, {"message": text})
        if len(block) > LARGEST:
            raise ValueError(f"{len(block):,} bytes are too much to hand over ({LARGEST:,})")
        return _PREFIX.pack(len(block)) + block

    def _send(self, block: bytes) -> None:
        if self._end is not None:
            raise self._end
        try:
            self._sendall(block)
        except OSError as error:
            raise self._ended(error) from error

    def _ended(self, error: OSError) -> Closed:
        """The end, for good: what comes late is no answer to the next question."""
        late = isinstance(error, TimeoutError)
        self._end = Silent("it did not answer any more") if late else Closed(str(error))
        return self._end

    def _receive(self) -> Message:
        (size,) = _PREFIX.unpack(self._read(_PREFIX.size))
        if size > LARGEST:
            raise Closed(f"a message of {size:,} bytes")
        block = self._read(size)
        try:
            (header,) = _PREFIX.unpack(block[: _PREFIX.size])
            text = _parsed(block[_PREFIX.size : _PREFIX.size + header].decode())
            message = _parsed(text["__metadata__"]["message"])
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
                part = self._recv(min(missing, 2**20))
            except OSError as error:
                raise self._ended(error) from error
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
    return "array", _from_numpy(_array(value, order="C"))


def _string(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} of a dictionary is not a string")
    return key


def described(error: BaseException) -> str:
    """What an exception says, whatever its class does to that."""
    try:
        text = str.__getitem__(str(error), slice(10_000))
    except Exception:
        text = "(what it says cannot be printed)"
    return f"{_class_name(type(error))}: {text}"


def _said(error: Exception) -> Message:
    """An exception as a message: the nearest class that the other end knows, and its words."""
    name, text = described(error).split(": ", 1)
    known = (_class_name(kind) for kind in type.mro(type(error)))
    nearest = next(name for name in known if hasattr(builtins, name))
    return {"error": nearest, "text": text if nearest == name else f"{name}: {text}"}


def _exception(reply: Message) -> Exception:
    kind = getattr(builtins, str(reply["error"]), RuntimeError)
    known = isinstance(kind, type) and issubclass(kind, Exception)
    text = str(reply.get("text", ""))
    try:
        return kind(text) if known else RuntimeError(text)
    except TypeError:  # such as UnicodeDecodeError, which wants more than a text
        return RuntimeError(f"{reply['error']}: {text}")
