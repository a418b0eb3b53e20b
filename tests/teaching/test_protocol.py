import json
import socket
import struct
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from dualdiff.teaching import protocol
from dualdiff.teaching.protocol import Closed, Line


@pytest.fixture
def linked():
    """Starts a line that answers, in a thread; gives one that asks, the other and its thread."""
    made = []

    def start(answer=None):
        here, there = socket.socketpair()
        other = Line(there, answer)
        thread = threading.Thread(target=other.serve)
        thread.start()
        made.append((here, thread, there))
        return Line(here), other, thread

    yield start
    for here, thread, there in made:
        here.close()
        thread.join()
        there.close()


@pytest.fixture
def lines(linked):
    """A line that asks, and another that answers with what it got."""
    return linked(lambda message: message["value"])[:2]


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.floats(allow_nan=False), TEXT
)
ARRAYS = npst.arrays(
    st.sampled_from(["float32", "float64", "int64", "int32", "uint8", "bool"]),
    npst.array_shapes(min_dims=0, min_side=0, max_side=4),
    elements=st.integers(0, 1),
)
VALUES = st.recursive(
    SCALARS | ARRAYS | ARRAYS.map(torch.as_tensor),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=10,
)


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b


@given(VALUES)
def test_what_goes_there_and_back_is_the_same(value):
    here, there = socket.socketpair()
    with here, there:
        a, b = Line(here), Line(there)
        a._send(a._block({"value": value}))
        assert same(b._receive()["value"], value)


def test_a_view_and_a_tensor_with_a_gradient_arrive_by_value(lines):
    line, _ = lines
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    got = line.ask({"value": [x.T, x[0]]})
    assert torch.equal(got[0], x.T) and torch.equal(got[1], x[0]) and not got[0].requires_grad
    got[1][0] = 9
    assert x[0, 0] == 0


def test_numpy_scalars_become_pythons(lines):
    line, _ = lines
    got = line.ask({"value": [np.float32(0.5), np.int64(3), np.bool_(True)]})
    assert same(got, [0.5, 3, True])


def test_a_generator_goes_on_where_it_was(lines):
    line, _ = lines
    generator = torch.Generator().manual_seed(3)
    torch.randn(5, generator=generator)
    got = line.ask({"value": generator})
    assert torch.equal(torch.randn(7, generator=got), torch.randn(7, generator=generator))


def test_functions_are_called_where_they_live_in_both_directions(linked):
    where, mine = [], []

    def scaled(factor, function):
        def made(x):
            where.append(threading.get_ident())
            return factor * function(x)

        return made

    def square(y):
        mine.append(threading.get_ident())
        return y * y

    line, _, thread = linked(lambda message: scaled)
    remote = line.ask({"get": "scaled"})
    assert remote.__name__ == "scaled"
    x = torch.tensor([1.0, 2.0])
    assert torch.equal(remote(3, function=square)(x), 3 * x * x)
    assert where == [thread.ident] and mine == [threading.get_ident()]


def test_a_function_that_comes_home_is_the_function_itself(lines):
    line, _ = lines

    def mine():
        return 1

    assert line.ask({"value": mine}) is mine
    assert line.ask({"value": mine}) is mine
    assert len(line._functions) == 1


class Mine(LookupError):
    pass


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(kind, kind) for kind in (ValueError, KeyError, AssertionError)] + [(Mine, LookupError)],
)
def test_an_error_arrives_as_what_it_was_or_as_its_built_in_parent(linked, raised, kind):
    def fails(message):
        raise raised("seven")

    with pytest.raises(kind, match="Mine: seven" if raised is Mine else "seven"):
        linked(fails)[0].ask({"get": "x"})


@pytest.mark.parametrize(
    "value",
    [{1: 2}, object(), {"a": {1, 2}}, np.array([object()])],
    ids=["key", "object", "set", "array"],
)
def test_what_cannot_be_handed_over_is_refused_and_the_line_lives(lines, value):
    line, _ = lines
    with pytest.raises(TypeError):
        line.ask({"value": value})
    assert line.ask({"value": 1}) == 1


def test_what_cannot_come_back_is_an_error_here(lines):
    line, other = lines
    other._answer = lambda message: object()
    with pytest.raises(TypeError, match="a object cannot be handed"):
        line.ask({"value": 1})


def test_without_an_answer_only_calls_are_answered(linked):
    line = linked()[0]
    with pytest.raises(ValueError, match="no answer to a message with"):
        line.ask({"get": "x"})
    with pytest.raises(IndexError):
        line.ask({"call": 7})


SIZE = struct.Struct("<Q").pack


def forged(message: str) -> bytes:
    """A block whose header holds this instead of a message."""
    header = json.dumps({"__metadata__": {"message": message}}).encode()
    block = SIZE(len(header)) + header
    return SIZE(len(block)) + block


BAD = {
    "nothing": b"",
    "half a size": b"\x01\x00",
    "less than it says": SIZE(100) + b"abc",
    "too large": SIZE(protocol.LARGEST + 1),
    "empty": SIZE(0),
    "no safetensors": SIZE(16) + b"x" * 16,
    "a header beyond the end": SIZE(16) + SIZE(10**12) + b"{}      ",
    "no message": SIZE(10) + SIZE(2) + b"{}",
    "not JSON": forged("["),
    "a list": forged("[]"),
    "deep": forged("[" * 10**5),
    "a number": forged("3"),
    "a digit too many": forged("9" * 10**5),
    "no such tensor": forged('{"dict": {"a": {"tensor": "0"}}}'),
    "no such function": forged('{"dict": {"a": {"yours": 3}}}'),
    "no kind": forged('{"dict": {"a": {}}}'),
}


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
def test_what_is_no_message_closes_the_line(sent):
    here, there = socket.socketpair()
    with here:
        with there:
            there.sendall(sent)
        with pytest.raises(Closed):
            Line(here).ask({"get": "x"})


def test_the_limit_of_a_message_holds_for_the_sender(lines, monkeypatch):
    line, _ = lines
    monkeypatch.setattr(protocol, "LARGEST", 10_000)
    with pytest.raises(ValueError, match="are too much to hand over"):
        line.ask({"value": torch.zeros(10_000)})
    assert line.ask({"value": 1}) == 1
