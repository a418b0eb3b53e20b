"""Profiles and the parameters of the notebooks."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from dualdiff.experiments.profiles import PARAMETERS, PROFILES, check, parse, resolve_device

BAD = {
    "profile": ["tiny", "", None, 3, True],
    "seed": [-1, 2**31, 1.0, "1", True, None, math.nan],
    "device": ["gpu", "CPU", None, 0],
    "quiet": [0, 1, "true", None],
    "scenario": ["table", None, 1],
    "recipe": ["best", None, ("thesis",)],
    "height_tolerance": [0, -0.25, 10.5, math.nan, math.inf, "0.25", True, None, [1]],
    "distance": [-0.1, 20.5, math.nan, math.inf, "far", True],
    "points": [1, 100_001, 8.0, "8", True, None],
    "weight_general": [0.0, -1, 11, math.nan, True],
    "weight_specialised": [0.0, -1, 11, math.nan, False],
    "group": [1, 201, 2.5, True, "50"],
}
GOOD = {
    "profile": ["smoke", "quick", "full"],
    "seed": [0, 2**31 - 1, np.int64(7)],
    "device": ["auto", "cpu"],
    "quiet": [True, False],
    "scenario": ["cabinet", "round_table"],
    "recipe": ["plain", "tuned"],
    "height_tolerance": [0.25, 1, 10, np.float32(0.5)],
    "distance": [0, 3.5, 20],
    "points": [2, 100_000, np.int64(8)],
    "weight_general": [0.01, 1],
    "weight_specialised": [10.0],
    "group": [2, np.int64(50), 200],
}


def test_profiles_differ_in_size_only():
    assert list(PROFILES) == ["smoke", "quick", "full"]
    sizes = [dataclasses.astuple(profile)[1:] for profile in PROFILES.values()]
    for smaller, larger in itertools.pairwise(sizes):
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))
    quick = PROFILES["quick"]
    assert quick.conditions * quick.draws >= 10_000


def test_examples_cover_every_parameter():
    assert set(BAD) == set(GOOD) == set(PARAMETERS)


@pytest.mark.parametrize("name,value", [(n, v) for n, values in BAD.items() for v in values])
def test_bad_values_are_refused_with_name_value_and_range(name, value):
    with pytest.raises(ValueError) as caught:
        check(**{name: value})
    message = str(caught.value)
    assert repr(name) in message and repr(value) in message
    assert PARAMETERS[name].allowed in message


@pytest.mark.parametrize("name,value", [(n, v) for n, values in GOOD.items() for v in values])
def test_good_values_pass(name, value):
    check(**{name: value})


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown parameter 'senario'.*scenario"):
        check(senario="cabinet")


@pytest.mark.parametrize(
    "name,text,value",
    [
        ("quiet", "true", True),
        ("quiet", "False", False),
        ("seed", "12", 12),
        ("height_tolerance", "1", 1.0),
        ("recipe", "tuned", "tuned"),
    ],
)
def test_parse(name, text, value):
    parsed = parse(name, text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    "name,text", [("quiet", "maybe"), ("seed", "1.5"), ("seed", "x"), ("weight_general", "nan")]
)
def test_parse_refuses(name, text):
    with pytest.raises(ValueError, match=f"parameter '{name}' is .*must be"):
        parse(name, text)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    for refuse in (lambda: check(device="cuda"), lambda: resolve_device("cuda")):
        with pytest.raises(ValueError, match="no CUDA device"):
            refuse()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check(device="cuda")
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="one of 'auto', 'cpu', 'cuda'"):
        resolve_device("gpu")
