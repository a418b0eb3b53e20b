"""Strokes: a renderer with a gradient, and what a model makes of it."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from torch import Tensor

from dualdiff.experiments.store import Store
from dualdiff.images import judge, strokes
from dualdiff.images.data import SIDE, digits, one_hot
from dualdiff.images.members import PICTURES, Digits, PictureNetworks, sized
from dualdiff.images.strokes import Certain, StrokeTrial, distilled, rendered
from dualdiff.images.study import SIZES
from dualdiff.plots.pictures import svg
from dualdiff.process import Process

PROCESS = Process.log_snr(50, 9.0, -6.0, dy=SIDE**2, dc=11)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(n: int, seed: int = 0) -> Tensor:
    strokes = torch.rand(n, 3, 7, generator=generator(seed), dtype=torch.float64) * 1.4 - 0.7
    strokes[..., 6] = math.log(0.2)
    return strokes


def test_the_gradient_is_that_of_finite_differences() -> None:
    drawing, weights = some(1), torch.randn(SIDE**2, generator=generator(1), dtype=torch.float64)
    drawing.requires_grad_()
    (found,) = torch.autograd.grad((rendered(drawing) * weights).sum(), drawing)
    small, slopes = 1e-6, torch.zeros_like(drawing)
    for place in range(drawing.numel()):
        move = torch.zeros(drawing.numel(), dtype=torch.float64)
        move[place] = small
        up, down = (rendered(drawing + s * move.view_as(drawing)) @ weights for s in (1, -1))
        slopes.view(-1)[place] = float((up - down).detach()) / (2 * small)
    torch.testing.assert_close(found, slopes, rtol=1e-4, atol=1e-6)


def test_ink_is_where_the_stroke_is() -> None:
    line = torch.tensor([[[-0.8, 0.125, 0.0, 0.125, 0.8, 0.125, math.log(0.13)]]])
    ink = rendered(line)[0].view(SIDE, SIDE)
    assert float(ink[4, 1:7].min()) > 0.2 and float(ink[[0, 1, 2, 6, 7]].max()) < -0.9
    assert bool((ink.abs() <= 1).all())
    fine = rendered(line, 32)[0].view(32, 32)  # the same drawing at another size
    coarse = torch.nn.functional.avg_pool2d(fine[None], 4)[0]
    assert float((coarse > -0.3).float().sub((ink > -0.3).float()).abs().mean()) < 0.1


def test_pictures_move_turn_and_order_with_their_strokes() -> None:
    drawing = some(5)
    torch.testing.assert_close(rendered(drawing.flip(1)), rendered(drawing))
    mirrored = drawing.clone()
    mirrored[..., 0:6:2] *= -1
    flipped = rendered(drawing).view(-1, SIDE, SIDE).flip(2).flatten(1)
    torch.testing.assert_close(rendered(mirrored), flipped)
    back = torch.cat([drawing[..., 4:6], drawing[..., 2:4], drawing[..., :2], drawing[..., 6:]], -1)
    torch.testing.assert_close(rendered(back), rendered(drawing))


def test_the_vector_graphics_hold_every_stroke() -> None:
    tree = ElementTree.fromstring(svg(some(4)))
    paths = [e for e in tree.iter() if e.tag.endswith("path")]
    assert len(paths) == 12 and tree.attrib["viewBox"] == "-1 -1 8 2"
    assert tree.attrib["width"] == "256" and tree.attrib["height"] == "64"
    moved = [path.attrib["transform"] for path in paths[::3]]
    assert moved == [f"translate({x} 0)" for x in (0, 2, 4, 6)]
    first = some(4)[0, 0].tolist()
    numbers = paths[0].attrib["d"].replace("M", "").replace("Q", "").split()
    assert [float(n) for n in numbers] == pytest.approx(first[:6], abs=0.00051)
    assert float(paths[0].attrib["stroke-width"]) == pytest.approx(2 * 0.2, abs=0.00051)


def test_a_certain_picture_distilled_is_least_squares() -> None:
    """Without doubt the network's answer is the difference of the pictures."""
    target = rendered(some(6, 1).float())
    rule, c = Certain(PROCESS, target), torch.zeros(6, 11)
    y, eps = target.roll(1, 0), torch.randn(6, SIDE**2, generator=generator(0))
    t = torch.full((6,), 20)
    off = rule(PROCESS.diffuse(PROCESS.encode_y(y), t, eps), t, c) - eps
    gap = PROCESS.signal(20) / PROCESS.noise(20) * (y - target)
    torch.testing.assert_close(off, gap, rtol=1e-4, atol=1e-4)
    drawings = [*distilled(rule, c, generator(0), steps=300)]
    errors = [float((rendered(d) - target).square().mean()) for d in (drawings[0], drawings[-1])]
    assert errors[1] < errors[0] / 10


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_drawings_do_not_depend_on_their_neighbours_targets(store: Store) -> None:
    size = sized(SIZES, "smoke")
    network = PictureNetworks(Digits(), PICTURES, size, 0, store).general.network
    asked = torch.tensor([1, 2, 3, 4])
    found = [
        [*distilled(network, one_hot(a), generator(0), steps=5)][-1]
        for a in (asked, torch.tensor([1, 2, 9, 9]))
    ]
    torch.testing.assert_close(found[0][:2], found[1][:2], rtol=1e-4, atol=1e-5)
    again = [*distilled(network, one_hot(asked), generator(0), steps=5)][-1]
    assert torch.equal(again, found[0])
    through = [*distilled(network, one_hot(asked), generator(0), steps=5, jacobian=True)][-1]
    assert not torch.allclose(through, found[0])


def test_variety_is_the_distance_within_classes() -> None:
    images, labels = digits("test")
    same = judge.apart(images[:1].expand(8, -1), torch.tensor([0, 1] * 4))
    assert same.value == 0
    two = torch.stack([torch.zeros(64), torch.ones(64)]).repeat(2, 1)
    assert judge.apart(two, torch.tensor([0, 0, 1, 1])).value == pytest.approx(8)
    assert judge.apart(images, labels).value > 3


def test_wrong_ways_are_refused_and_trials_distinct() -> None:
    size = sized(SIZES, "smoke")
    for way in ("distilled", "fitted at 3", "erased at 1"):
        with pytest.raises(ValueError, match="configuration must be one of fitted; distilled at W"):
            StrokeTrial(Digits(), size, 0, way)
    trials = strokes.stroke_trials("full", 0)
    assert len({t.key for t in trials}) == len(trials) == 48
