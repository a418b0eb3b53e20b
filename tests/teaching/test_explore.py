from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ipywidgets import Dropdown, IntSlider, Text
from PIL import Image

from dualdiff.teaching.explore import explore


def bars(height, colour="C0"):
    axes = plt.figure(figsize=(2, 2)).gca()
    axes.bar([0], [height], color=colour)
    axes.set_ylim(0, 10)


def pixels(box) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(box.children[2].value)).convert("RGB")).astype(int)


def test_the_picture_follows_its_controls():
    height = IntSlider(2, min=0, max=10)
    box = explore(bars, height=height, colour=Dropdown(options=["red", "blue"]))
    first = pixels(box)
    height.value = 9
    second = pixels(box)
    red = [int(((p[..., 0] > 200) & (p[..., 1] < 50)).sum()) for p in (first, second)]
    assert red[1] > 3 * red[0] > 0
    height.value = 2
    assert (pixels(box) == first).all()
    assert first.shape == (360, 360, 3) and box.children[2].width == "180"


def test_controls_get_their_names_and_move_when_they_are_let_go():
    named, other = IntSlider(2, description="n of bars"), IntSlider(2)
    explore(lambda a, b: bars(a + b), a=named, b=other)
    assert (named.description, other.description) == ("n of bars", "b")
    assert not named.continuous_update


def test_no_figure_is_left_open_and_none_of_others_closed():
    mine = plt.figure()
    slider = IntSlider(2)
    explore(bars, height=slider)
    slider.value = 3
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_an_error_at_first_is_an_error_and_later_one_is_shown_and_forgotten():
    def draw(height):
        bars(height)
        if height > 5:
            raise ValueError("<too high>")

    with pytest.raises(ValueError, match="too high"):
        explore(draw, height=IntSlider(6))
    slider = IntSlider(3)
    box = explore(draw, height=slider)
    before = box.children[2].value
    slider.value = 7
    assert box.children[1].value == "<b>ValueError</b>: &lt;too high&gt;"
    assert box.children[2].value == before and plt.get_fignums() == []
    slider.value = 4
    assert box.children[1].value == "" and box.children[2].value != before


def test_a_function_without_a_figure_is_refused():
    def nothing(name):
        return None

    with pytest.raises(ValueError, match="nothing should make a figure"):
        explore(nothing, name=Text("x"))
