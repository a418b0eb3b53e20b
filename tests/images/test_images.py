"""Pictures: what is split, moved and styled, who judges, and compositions of their networks."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dualdiff.compose import Weighted
from dualdiff.experiments.store import Store
from dualdiff.images import data, judge, study
from dualdiff.images.data import CLASSES, CONCEPTS, PARTS, SIDE, digits
from dualdiff.images.judge import STYLES, judged, share, styled
from dualdiff.images.members import PICTURES, UNTOLD, Digits, PictureNetworks, Told, sized
from dualdiff.images.study import SIZES, ControlTrial, PictureTrial
from dualdiff.metrics import Estimate


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- data ---------------------------------------------------------------------------------------


def test_no_image_is_in_two_parts_and_none_is_lost() -> None:
    parts = {name: digits(name) for name in PARTS}
    rows = torch.cat([images for images, _ in parts.values()])
    assert [len(images) for images, _ in parts.values()] == [*PARTS.values()]
    assert len(rows) == 1_797 == len(rows.unique(dim=0))
    assert rows.min() == -1 and rows.max() == 1
    for _, labels in parts.values():
        assert {*labels.tolist()} == {*range(CLASSES)}


def test_the_identity_moves_nothing_and_a_shift_moves_pixels() -> None:
    images, _ = digits("test")
    same = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(len(images), -1, -1)
    torch.testing.assert_close(data.warped(images, same), images)
    right = same.clone()
    right[:, 0, 2] = 2 / SIDE  # of a square of width 2: one pixel
    seen = data.warped(images, right).view(-1, SIDE, SIDE)
    square = images.view(-1, SIDE, SIDE)
    torch.testing.assert_close(seen[:, :, :-1], square[:, :, 1:], rtol=0, atol=1e-5)
    assert bool((seen[:, :, -1] == -1).all())


def test_jitter_is_small_and_repeats() -> None:
    images, _ = digits("test")
    moved = data.jittered(images, generator(0))
    assert torch.equal(moved, data.jittered(images, generator(0)))
    assert not torch.equal(moved, data.jittered(images, generator(1)))
    torch.testing.assert_close(data.jittered(images, generator(0), 0.0), images)
    gentle = data.jittered(images, generator(0), 0.25)
    assert bool(((gentle - images).norm(dim=1) < (moved - images).norm(dim=1)).all())


def test_styles_are_what_they_are_called() -> None:
    images, _ = digits("test")
    assert torch.equal(styled(images, "plain"), images)
    assert torch.equal(styled(styled(images, "inverted"), "inverted"), images)
    assert bool((styled(images, "bold") >= images).all())
    square = styled(images, "slanted").view(-1, SIDE, SIDE) + 1
    across = torch.arange(SIDE).float()

    def centre(rows: torch.Tensor) -> float:
        return float((rows.sum((0, 1)) * across).sum() / rows.sum())

    assert centre(square[:, :3]) > centre(square[:, -3:]) + 1  # they lean to the right


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(4, 100), None, "rows of 8 x 8 numbers, not 4 x 100"),
        (torch.zeros(4, 8, 8), None, "not 4 x 8 x 8"),
        (torch.zeros(0, 64), None, "at least 2 images, not 0"),
        (torch.zeros(1, 64), None, "at least 2 images, not 1"),
        (torch.full((3, 64), math.nan), None, "must be finite"),
        (torch.zeros(3, 64), torch.zeros(2), "3 images have 2 labels"),
    ],
)
def test_what_is_no_set_of_images_is_refused(images, labels, message) -> None:  # type: ignore[no-untyped-def]
    asked = torch.zeros(len(images)) if labels is None else labels
    for refuse in (data.checked, lambda x, said: judged(x, asked, "plain", x)):
        with pytest.raises(ValueError, match=message):
            refuse(images, labels)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="part must be one of judge, models, test, not 'all'"):
        digits("all")
    with pytest.raises(ValueError, match="style must be one of plain, slanted"):
        styled(torch.zeros(2, 64), "wet")
    with pytest.raises(ValueError, match="style must be one of plain, slanted"):
        Digits("wet")
    with pytest.raises(ValueError, match="told must be class or style or empty, not 'word'"):
        Digits("bold", "word")
    with pytest.raises(ValueError, match="a concept has from 2 to 899 images, not 1"):
        Digits("bold").pairs("specialised", 1, generator(0))
    with pytest.raises(ValueError, match="profile must be one of"):
        sized(SIZES, "huge")
    for name in ("general at", "general at x", "concept at 1", "joint at 1", "sum", "lora at nan"):
        with pytest.raises(ValueError, match="configuration must be one of general at W; "):
            PictureTrial(Digits("bold"), sized(SIZES, "smoke"), 0, name)


# --- the judge ----------------------------------------------------------------------------------


def test_the_judge_errs_little_on_what_it_has_not_seen() -> None:
    """Its own held-out error by style: at least 19 of 20 are read, by Wilson's interval."""
    images, labels = digits("test")
    for style in STYLES:
        seen = styled(images, style)
        assert share(judge.read_digits(seen) == labels).high > 0.98
        assert share(judge.tell_styles(seen) == STYLES.index(style)).low > 0.95


def test_wilson_s_interval_holds_the_share_as_often_as_it_says() -> None:
    p, n, inside = 0.95, 100, 0
    source = generator(3)
    for _ in range(2_000):
        found = share(torch.rand(n, generator=source) < p)
        inside += found.low <= p <= found.high
    assert abs(inside / 2_000 - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 2_000) + 0.015  # discrete


def test_held_out_images_are_judged_as_what_they_are_and_copies_are_seen() -> None:
    images, labels = digits("models")
    for style in ("plain", "bold"):
        seen = styled(images[:300], style)
        found = judged(seen, labels[:300], style, seen)
        assert found["control"].value > 0.95 and found["concept"].value > 0.95
        assert found["nearest"].value == 0
        rest = styled(images[300:], style)
        assert judged(seen, labels[:300], style, rest)["nearest"].low > 1
        other = judged(seen, labels[:300], "inverted", seen)
        assert other["concept"].value < 0.05 and other["frechet"].value > found["frechet"].high
    nobody = judged(images[:100], torch.full((100,), -1), "plain", images)
    assert "control" not in nobody


# --- networks -----------------------------------------------------------------------------------


SMALL = replace(sized(SIZES, "smoke"), conditions=40)
BOLD = Digits("bold")


@pytest.fixture
def networks(tmp_path: Path) -> PictureNetworks:
    return PictureNetworks(BOLD, PICTURES, SMALL, 0, Store(tmp_path))


def test_general_rows_are_told_their_class_but_for_a_share(networks: PictureNetworks) -> None:
    y, c = networks.rows("general")
    images, labels = digits("models")
    assert len(y) == SMALL.n_general and c.shape == (len(y), CLASSES + 1)
    told = c[:, :CLASSES].sum(1)
    assert bool((c[:, -1] == 0).all()) and {*told.tolist()} == {0.0, 1.0}
    error = math.sqrt(UNTOLD * (1 - UNTOLD) / len(y))
    assert abs(float(1 - told.mean()) - UNTOLD) < 4 * error
    number = (y[:50, None] == images).all(2).double().argmax(1)
    known = told[:50] > 0
    assert torch.equal(c[:50][known].argmax(1), labels[number[known]])


def test_a_concept_is_few_styled_images_and_a_word(networks: PictureNetworks) -> None:
    y, c = networks.rows("specialised")
    assert len(y) == 128 == len(y.unique(dim=0))
    assert bool((c[:, :-1] == 0).all()) and bool((c[:, -1] == 1).all())
    pool = styled(digits("models")[0], "bold")
    assert bool((y[:, None] == pool).all(2).any(1).all())


def test_told_and_untold(networks: PictureNetworks) -> None:
    network, c = networks.general.network, data.one_hot(torch.tensor([3, 7, -1]))
    y = torch.randn(3, 64, generator=generator(0))
    none, word = torch.zeros_like(c), torch.zeros_like(c)
    word[:, -1] = 1
    for classes, said, expected in (
        (True, False, c),
        (False, False, none),
        (True, True, c + word),
        (False, True, word),
    ):
        rule = Told(network, classes=classes, word=said)
        assert torch.equal(rule(y, 5, c), network(y, 5, expected))
        torch.testing.assert_close(rule.bind(c)(y, 5), network(y, 5, expected))


def test_weights_of_one_and_none_are_the_parts_themselves(networks: PictureNetworks) -> None:
    c, y = data.one_hot(torch.arange(10)), torch.randn(10, 64, generator=generator(1))

    def predicted(name: str) -> torch.Tensor:
        return PictureTrial(BOLD, SMALL, 0, name).rule(networks)(y, 30, c)

    torch.testing.assert_close(predicted("general at 1"), networks.general.network(y, 30, c))
    tuned = networks.specialised("finetuned").network
    word = c.clone()
    word[:, -1] = 1
    torch.testing.assert_close(predicted("finetuned at 1"), tuned(y, 30, word))
    word[:, :-1] = 0
    torch.testing.assert_close(predicted("concept at 1, 0"), tuned(y, 30, word))
    torch.testing.assert_close(predicted("concept at 0, 1"), predicted("general at 1"))
    rule = PictureTrial(BOLD, SMALL, 0, "joint").rule(networks)
    assert isinstance(rule, Weighted) and [*rule.weights.values()] == [1, 1]


@pytest.mark.parametrize(
    "name", ["general at 2", "lora at 1", "generated at 1", "concept at 1, 2", "joint_smc"]
)
def test_compositions_are_judged(name: str, networks: PictureNetworks) -> None:
    found = PictureTrial(BOLD, SMALL, 0, name).scores(networks.store, "cpu", True)
    assert {metric for _, metric in found} == {
        "concept",
        "control",
        "precision",
        "recall",
        "frechet",
        "nearest",
    }
    for estimate in found.values():
        assert isinstance(estimate, Estimate) and estimate.low <= estimate.value <= estimate.high


def test_drift_is_of_the_network_that_is_told_nothing(networks: PictureNetworks) -> None:
    found = PictureTrial(BOLD, SMALL, 0, "finetuned").scores(networks.store, "cpu", True)
    assert {target for target, _ in found} == {"untold"}
    assert ("untold", "control") not in found and ("untold", "frechet") in found
    c, y = data.one_hot(torch.full((3,), -1)), torch.randn(3, 64, generator=generator(2))
    rule = PictureTrial(BOLD, SMALL, 0, "finetuned").rule(networks)
    alone = networks.specialised("finetuned").network
    torch.testing.assert_close(rule(y, 30, c), alone(y, 30, 0 * c))


# --- two controls -------------------------------------------------------------------------------


def test_both_networks_see_the_same_images_and_are_told_different_things(
    networks: PictureNetworks,
) -> None:
    rows = {
        told: replace(networks, scenario=Digits("bold", told)).rows("general")
        for told in ("class", "style")
    }
    (y, what), (x, how) = rows["class"], rows["style"]
    assert torch.equal(y, x)
    assert bool((what[:, -1] == 0).all()) and bool((how[:, :-1] == 0).all())
    assert {*how[:, -1].tolist()} == {-1.0, 0.0, 1.0}
    plain, bold = digits("models")[0], styled(digits("models")[0], "bold")
    for word, pool in ((1, bold), (-1, plain)):
        said = y[how[:, -1] == word][:100]
        assert bool((said[:, None] == pool).all(2).any(1).all())
    for part in (what, how):
        told = (part != 0).any(1).double().mean()
        assert abs(float(told) - 1 + UNTOLD) < 4 * math.sqrt(UNTOLD * (1 - UNTOLD) / len(y))


def test_limits_of_and_and_of_amdm(networks: PictureNetworks) -> None:
    """AND with one weight is that member; AMDM without aggregation its first network's chain."""
    world, c = Digits("bold", "class"), data.one_hot(torch.arange(10))
    of = replace(networks, scenario=world)
    y = torch.randn(10, 64, generator=generator(1))

    def trial(name: str) -> ControlTrial:
        return ControlTrial(world, SMALL, 0, name)

    members = trial("class").members(of)
    for name, member in (("and at 0, 1", "class"), ("and at 1, 0", "style")):
        expected = members[member](y, 30, c)
        torch.testing.assert_close(trial(name).rule(of)(y, 30, c), expected, rtol=0, atol=1e-5)
    first, second = (trial(f"amdm_linear_{k} at 0, 0").drawn(of, c) for k in ("class", "style"))
    assert first.shape == second.shape == (10, 64) and not torch.equal(first, second)
    again = trial("amdm_spherical_class at 0, 0.3").drawn(of, c)
    torch.testing.assert_close(again, first)
    with pytest.raises(ValueError, match="aggregated must be from 0 to 100"):
        trial("amdm_linear_class at 101, 0").drawn(of, c)
    found = trial("joint_smc").scores(of.store, "cpu", True)
    assert ("samples", "control") in found


def test_the_table_has_every_trial_once() -> None:
    controls = study.control_trials("full", 0)
    assert len({trial.key for trial in controls}) == len(controls)
    found = study.picture_trials("full", 0)
    assert len({trial.key for trial in found}) == len(found)
    assert {trial.world.style for trial in found} == {*STYLES} == {"plain", *CONCEPTS}
