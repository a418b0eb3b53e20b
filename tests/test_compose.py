"""Laws of composition."""

import math
from functools import partial

import pytest
import torch
from conftest import generator, line, mixture, standardised
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.checks import check_denoiser, check_rule
from dualdiff.compose import Blend, Weighted, guided, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactBox, ExactMixture
from dualdiff.experiments.rules import RULES, classifier_free, video_adapter
from dualdiff.mcmc import ULA
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.samplers import sample

PROCESS = Process.linear(40)
A, B = (MLP(PROCESS, Architecture(16, 1), generator(seed)).eval() for seed in (1, 2))
BOX = ExactBox(PROCESS, (-1.0, -1.0, 0.0), (0.0, 0.0, 0.5))
Y, C = torch.randn(2, 32, 3, generator=generator(3))
T = 11
weight = st.floats(0.05, 4)


def eps(denoiser, bound: bool = False) -> torch.Tensor:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        return denoiser.bind(C)(Y, T) if bound else denoiser(Y, T, C)


@pytest.mark.parametrize("bound", [False, True])
def test_weights_one_and_zero_give_the_member_exactly(bound: bool) -> None:
    assert torch.equal(eps(Weighted({"a": A, "b": B}, {"a": 1, "b": 0}), bound), eps(A, bound))


@given(weight, weight, weight)
def test_order_of_members_does_not_matter(a: float, b: float, c: float) -> None:
    one = Weighted({"a": A, "b": B, "box": BOX}, {"a": a, "b": b, "box": c})
    two = Weighted({"box": BOX, "b": B, "a": A}, {"a": a, "b": b, "box": c})
    torch.testing.assert_close(eps(one), eps(two))


@given(weight, weight, weight)
def test_nesting_multiplies_weights(outer: float, a: float, b: float) -> None:
    inner = Weighted({"a": A, "b": B}, {"a": a, "b": b})
    nested = Weighted({"inner": inner, "box": BOX}, {"inner": outer, "box": 1})
    flat = Weighted({"a": A, "b": B, "box": BOX}, {"a": outer * a, "b": outer * b, "box": 1})
    torch.testing.assert_close(eps(nested), eps(flat), rtol=1e-4, atol=1e-5)


@given(weight, weight)
def test_a_member_with_itself_adds_its_weights(a: float, b: float) -> None:
    twice = Weighted({"x": A, "y": A}, {"x": a, "y": b})
    torch.testing.assert_close(eps(twice, True), (a + b) * eps(A), rtol=1e-4, atol=1e-5)


def test_product_of_gaussians_at_no_noise() -> None:
    """At t = 0 the sum of scores is the score of the product, which is known for Gaussians."""
    process = Process.log_snr(50, high=20)
    means = torch.tensor([[1.0, 0.0, 0.5], [-1.0, 3.0, 0.0]])
    precisions = 1 / torch.tensor([[1.0, 2.0, 0.5], [0.5, 1.0, 4.0]])
    total = precisions.sum(0)
    one, two, product = (
        ExactMixture(process, [1], mean[None], torch.diag(1 / precision)[None])
        for mean, precision in (
            *zip(means, precisions, strict=True),
            ((means * precisions).sum(0) / total, total),
        )
    )
    # The gap to the noised product is of order sigma^2 = 2e-9 here.
    torch.testing.assert_close(joint(one, two)(Y, 0, C), product(Y, 0, C), rtol=1e-4, atol=1e-7)


def test_sum_of_noised_scores_is_not_the_score_of_the_noised_product() -> None:
    """Two unit Gaussians: the sum implies variance 1/2 at every t, the truth abar/2 + 1 - abar."""
    unit = ExactMixture(PROCESS, [1], torch.zeros(1, 3), torch.eye(3)[None])
    half = ExactMixture(PROCESS, [1], torch.zeros(1, 3), torch.eye(3)[None] / 2)
    noise, abar = PROCESS.noise(T), PROCESS.alpha_bar_at(T)
    at_origin = torch.zeros_like(C)
    summed = joint(unit, unit)(Y, T, at_origin)
    torch.testing.assert_close(summed, noise * Y / 0.5, rtol=1e-5, atol=1e-6)
    true = half(Y, T, at_origin)
    torch.testing.assert_close(true, noise * Y / (abar / 2 + 1 - abar), rtol=1e-5, atol=1e-6)


# --- rules --------------------------------------------------------------------------------------

U = MLP(PROCESS, Architecture(16, 1), generator(4)).eval()
STEPS = (0, 1, 11, 39)


def named(general: Denoiser, specialised: Denoiser) -> dict[str, Denoiser]:
    return {"general": general, "specialised": specialised, "unconditional": U}


def formulas(g, s, u, t):  # type: ignore[no-untyped-def]
    """What the documented densities say, written out: the noise of every rule at step t."""
    share = 0.5 * t / 39
    return {
        "sum": g + s,
        "average": (g + s) / 2,
        "light": g / 4 + s,
        "ramp": share * g + (1 - share) * s,
        "composable": u + (g - u) + (s - u),
        "negation": u + (s - u) - (g - u) / 2,
        "guidance": s + 1.0 * (s - u),
        "concept": g + 1.5 * (s - g),
        "video_adapter": u + 1.5 * (s + 0.5 * g - u),
    }


@pytest.mark.parametrize("name", RULES)
def test_rules_are_their_formulas_called_and_bound(name: str) -> None:
    rule = RULES[name].make(named(A, BOX))
    predict = rule.bind(C)
    with torch.no_grad():
        for t in STEPS:
            expected = formulas(A(Y, t, C), BOX(Y, t, C), U(Y, t, C), t)[name]
            torch.testing.assert_close(rule(Y, t, C), expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(predict(Y, t), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_rules_keep_the_laws(name: str) -> None:
    """Of rules, and of denoisers with networks and exact members inside."""

    def make(members: dict[str, Denoiser]) -> Denoiser:
        process = next(iter(members.values())).process
        unit = line(process, (1.0, 0.0, 1.0))
        return RULES[name].make({**members, "unconditional": unit})

    check_rule(make, generator(), product=name == "sum").raise_if_failed()
    for pair in ((A, B), (A, BOX)):
        check_denoiser(RULES[name].make(named(*pair)), generator()).raise_if_failed()


def test_every_rule_has_its_formula() -> None:
    assert set(formulas(1.0, 1.0, 1.0, 0)) == set(RULES)


@pytest.mark.parametrize("outer", RULES)
@pytest.mark.parametrize("inner", ["sum", "ramp", "guidance"])
def test_rules_nest(outer: str, inner: str) -> None:
    """A rule of rules is a rule, with the same process, and moves with its members."""
    part = RULES[inner].make(named(A, BOX))
    rule = RULES[outer].make(named(part, part))
    assert rule.process is PROCESS
    predict = rule.bind(C)
    with torch.no_grad():
        for t in STEPS:
            within = formulas(A(Y, t, C), BOX(Y, t, C), U(Y, t, C), t)[inner]
            expected = formulas(within, within, U(Y, t, C), t)[outer]
            torch.testing.assert_close(predict(Y, t), expected, rtol=1e-3, atol=1e-3)


def test_start_spread_of_rules() -> None:
    """From the sum of the weights at the noisiest step, whatever it is at the others."""
    total = {name: formulas(1.0, 1.0, 1.0, 39)[name] for name in RULES}
    assert total["sum"] == 2 and total["guidance"] == 1
    for name, rule in RULES.items():
        assert rule.make(named(A, B)).start_std == pytest.approx(total[name] ** -0.5)
    falling = Weighted({"a": A, "b": B}, {"a": torch.linspace(1, 3, 40), "b": 1.0})
    assert falling.start_std == pytest.approx(0.5)


# --- weights per step ---------------------------------------------------------------------------


def test_weights_by_step_are_those_of_their_step() -> None:
    by_step = torch.linspace(-0.5, 2, 40).tolist()
    rule = Weighted({"a": A, "b": B}, {"a": by_step, "b": 1.0})
    predict = rule.bind(C)
    with torch.no_grad():
        for t in STEPS:
            expected = by_step[t] * A(Y, t, C) + B(Y, t, C)
            torch.testing.assert_close(rule(Y, t, C), expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(predict(Y, t), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="weights change with the step"):
        _ = rule.weights
    assert Weighted({"a": A}, {"a": [2.0] * 40}).weights == {"a": 2.0}


def test_a_weight_that_is_zero_at_some_steps_only_is_not_forgotten() -> None:
    late = torch.zeros(40)
    late[T] = 3.0
    rule = Weighted({"a": A, "b": B}, {"a": 1.0, "b": late})
    for bound in (False, True):
        torch.testing.assert_close(eps(rule, bound), eps(A) + 3 * eps(B), rtol=1e-4, atol=1e-5)
    assert [name for name, *_ in rule.active()] == ["a", "b"]
    assert [name for name, *_ in Weighted({"a": A, "b": B}, {"a": 1, "b": 0}).active()] == ["a"]


# --- guidance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [False, True])
def test_guidance_of_zero_and_minus_one(bound: bool) -> None:
    assert torch.equal(eps(classifier_free(A, U, 0.0), bound), eps(A, bound))
    assert torch.equal(eps(classifier_free(A, U, -1.0), bound), eps(U, bound))


@given(st.floats(-3, 8))
def test_guidance_is_its_formula_also_by_step(w: float) -> None:
    column = torch.linspace(w, 0, 40)
    for strength, now in ((w, w), (column, float(column[T]))):
        expected = eps(A) + now * (eps(A) - eps(U))
        found = eps(classifier_free(A, U, strength), True)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bound", [False, True])
def test_guided_by_one_source_is_that_source_and_by_none_the_unconditional(bound: bool) -> None:
    sources = {"a": A, "b": B, "box": BOX}
    for chosen in sources:
        weights = {name: float(name == chosen) for name in sources}
        assert torch.equal(eps(guided(U, sources, weights), bound), eps(sources[chosen], bound))
    none = dict.fromkeys(sources, 0.0)
    assert torch.equal(eps(guided(U, sources, none), bound), eps(U, bound))


@given(st.floats(-1, 3), st.floats(-1, 3))
def test_guided_adds_directions(a: float, b: float) -> None:
    expected = eps(U) + a * (eps(A) - eps(U)) + b * (eps(B) - eps(U))
    rule = guided(U, {"a": A, "b": B}, {"a": a, "b": b})
    torch.testing.assert_close(eps(rule, True), expected, rtol=1e-3, atol=1e-4)
    assert float(rule.table.sum(1)[0]) == pytest.approx(1)


@given(st.floats(0.1, 2), st.floats(0.1, 2))
def test_video_adapter_is_its_formula(alpha: float, gamma: float) -> None:
    rule = video_adapter(A, U, B, prior_strength=gamma, inverse_temperature=alpha)
    expected = eps(U) + alpha * (eps(A) + gamma * eps(B) - eps(U))
    torch.testing.assert_close(eps(rule, True), expected, rtol=1e-3, atol=1e-4)
    assert float(rule.table.sum(1)[0]) == pytest.approx(1 + alpha * gamma)


ANOTHER = [Process.linear(41), Process.linear(40, last=0.3), standardised(Process.linear(40))]
ROWS = "a number or one for each of the 40"
BAD_WEIGHTS = [
    ({"a": 1.0}, "members are"),
    ({"a": 1.0, "b": 1.0, "c": 1.0}, "members are"),
    ({"a": math.nan, "b": 1.0}, "'a' must be finite"),
    ({"a": math.inf, "b": 1.0}, "'a' must be finite"),
    ({"a": -1.0, "b": 1.0}, "positive sum"),
    ({"a": 1.0, "b": [1.0] * 39}, rf"weight of 'b' must be {ROWS}.*\[39\]"),
    ({"a": 1.0, "b": torch.ones(40, 1)}, rf"weight of 'b' must be {ROWS}.*\[40, 1\]"),
    ({"a": 1.0, "b": []}, rf"weight of 'b' must be {ROWS}.*\[0\]"),
    ({"a": 1.0, "b": [1.0] * 39 + [math.nan]}, "weight of 'b' must be finite"),
    ({"a": 1.0, "b": [0.0] * 7 + [-1.0] + [0.0] * 32}, "positive sum, not 0 at step 7"),
    ({"a": 1.0, "b": [0.0] * 7 + [-2.5] + [0.0] * 32}, "positive sum, not -1.5 at step 7"),
]
BAD_SOURCES = [  # named, and not the weight of the rest
    ({"a": math.nan, "b": 1.0}, "'a' must be finite, not nan"),
    ({"a": 1.0, "b": math.inf}, "'b' must be finite, not inf"),
    ({"a": [1.0] * 39, "b": 1.0}, rf"'a' must be {ROWS}.*\[39\]"),
    ({"a": [1.0] * 39, "b": [1.0] * 40}, f"'a' must be {ROWS}"),
    ({"b": 1.0}, r"weights are for \['b'\], but sources are \['a', 'b'\]"),
]
REFUSED = [
    *((partial(joint, A, mixture(p)), "cannot compose.*same units") for p in ANOTHER),
    *((partial(Weighted, {"a": A, "b": B}, weights), said) for weights, said in BAD_WEIGHTS),
    *((partial(guided, U, {"a": A, "b": B}, weights), said) for weights, said in BAD_SOURCES),
    (lambda: Weighted({}, {}), "at least one member"),
    (lambda: Weighted({"a": torch.nn.ReLU()}, {"a": 1}), "'a' is a ReLU, not a Denoiser"),  # type: ignore[dict-item]
    (lambda: guided(U, {"unconditional": A}, {"unconditional": 1.0}), "cannot be named 'unc"),
    (
        lambda: guided(U, {"a": mixture(Process.linear(41))}, {"a": 1.0}),
        "cannot compose 'unconditional' and 'a'",
    ),
    (lambda: classifier_free(A, U, math.nan), "'conditional' must be finite, not nan"),
    (lambda: video_adapter(A, U, B, prior_strength=-1.0, inverse_temperature=1.5), "positive sum"),
    (
        lambda: video_adapter(A, U, B, prior_strength=1.0, inverse_temperature=math.inf),
        "'specialised' must be finite",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_cannot_be_composed_is_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


@given(weight, weight, weight, weight)
def test_flat_is_the_same_sum_of_the_innermost_members(
    outer: float, a: float, b: float, ramp: float
) -> None:
    column = torch.linspace(ramp, 1, A.process.steps)
    inner = Weighted({"a": A, "b": B}, {"a": a * column, "b": b})
    middle = Weighted({"inner": inner, "box": BOX}, {"inner": outer, "box": 0.5})
    nested = Weighted({"middle": middle, "a": A}, {"middle": 1, "a": 2})
    flat = nested.flat()
    assert {*A.parameters(), *B.parameters()} <= {*nested.parameters()}  # they move with it
    assert list(flat.members.values()) == [A, B, BOX, A]
    assert not any(isinstance(member, Weighted) for member in flat.members.values())
    torch.testing.assert_close(eps(flat), eps(nested), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flat.table.sum(1), nested.total)
    torch.testing.assert_close(nested.total, outer * (a * column.double() + b) + 0.5 + 2)


signed = st.integers(-16, 24).map(lambda eighths: eighths / 8)  # sums of them are exact


@given(signed, signed, signed, signed)
def test_a_nested_sum_starts_and_is_refused_like_the_flat_one(
    outer: float, a: float, b: float, rest: float
) -> None:
    """Whatever the outer weights add up to: members' weights count, and a sum has its own."""
    late = torch.ones(PROCESS.steps, dtype=torch.float64)
    late[T:] = 2.0
    if not a + b > 0:
        a, b = 0.5 - b, b
    inner = Weighted({"a": A, "b": B}, {"a": a * late, "b": b * late})
    columns = {"a": outer * a * late, "b": outer * b * late}
    rests = dict.fromkeys(["box"], rest)
    try:
        flat = Weighted({"a": A, "b": B, "box": BOX}, {**columns, **rests})
    except ValueError as error:
        with pytest.raises(ValueError, match="positive sum") as found:
            Weighted({"inner": inner, "box": BOX}, {"inner": outer, **rests})
        assert str(found.value).split("step")[1] == str(error).split("step")[1]
        return
    nested = Weighted({"inner": inner, "box": BOX}, {"inner": outer, **rests})
    assert nested.start_std == pytest.approx(flat.start_std)
    assert nested.start_std == nested.flat().start_std
    assert torch.equal(nested.total, nested.flat().total)


@given(st.lists(st.sampled_from(["a", "a/b", "b", "a/b'", "b/b"]), min_size=1, unique=True))
def test_no_name_makes_the_flat_sum_lose_a_member(names: list[str]) -> None:
    """Names are free, also those that look like a path, at every depth."""
    pair = Weighted({"b": A, "b/b": B}, {"b": 1, "b/b": 2})
    deep = Weighted({"a": pair, "b": BOX, "a/b": A}, {"a": 0.5, "b": 1, "a/b": 3})
    members = {name: deep if i % 2 == 0 else BOX for i, name in enumerate(names)}
    nested = Weighted(members, dict.fromkeys(members, 1))
    flat = nested.flat()
    assert len(flat.members) == sum(4 if member is deep else 1 for member in members.values())
    assert torch.equal(nested.total, flat.table.sum(1))
    torch.testing.assert_close(eps(flat), eps(nested), rtol=1e-4, atol=1e-5)


class Halved(Weighted):
    def forward(self, y, t, c):  # type: ignore[no-untyped-def]
        return super().forward(y, t, c) / 2


class Recalled(Weighted):
    def __call__(self, y, t, c):  # type: ignore[no-untyped-def]
        return super().__call__(y, t, c) / 2


def own_forward(rule: Weighted) -> None:
    rule.forward = lambda y, t, c: y  # type: ignore[method-assign]


def hook(rule: Weighted) -> None:
    rule.register_forward_hook(lambda module, given, found: found * 0)


def early_hook(rule: Weighted) -> None:
    rule.register_forward_pre_hook(lambda module, given: (given[0] * 0, *given[1:]))


ALTERED = [
    (Halved, None),
    (Recalled, None),
    *((Weighted, f) for f in (own_forward, hook, early_hook)),
]


@pytest.mark.parametrize(("kind", "alter"), ALTERED)
def test_a_sum_that_does_something_else_is_a_member_and_not_taken_apart(kind, alter) -> None:  # type: ignore[no-untyped-def]
    rule = kind({"a": A, "b": B}, {"a": 1.5, "b": 0.5})
    if alter is not None:
        alter(rule)
    nested = Weighted({"rule": rule, "box": BOX}, {"rule": 0.5, "box": 1})
    flat = Weighted({"nested": nested}, {"nested": 1}).flat()
    assert list(flat.members.values()) == [rule, BOX]
    for bound in (False, True):
        torch.testing.assert_close(eps(flat, bound), eps(nested), rtol=1e-4, atol=1e-5)
    assert float(nested.total[0]) == 1.5
    with pytest.raises(ValueError, match=f"{kind.__name__}.*member"):
        rule.flat()


# --- several members by name, weights that depend on the state -----------------------------------


def test_joint_takes_two_by_position_or_any_by_name() -> None:
    assert joint(A, B).weights == {"general": 1.0, "specialised": 1.0}
    three = joint(world=A, home=B, walls=U)
    assert three.weights == dict.fromkeys(("world", "home", "walls"), 1.0)
    y, c = torch.randn(5, 3, generator=generator(7)), torch.randn(5, 3, generator=generator(8))
    torch.testing.assert_close(three(y, 4, c), A(y, 4, c) + B(y, 4, c) + U(y, 4, c))
    for wrong in ((A,), (A, B, U)):
        with pytest.raises(ValueError, match="by position"):
            joint(*wrong)
    with pytest.raises(ValueError, match="1 by name"):
        joint(A, B, walls=U)


def gate(y: torch.Tensor, t: int | torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """More of the first member where y and c agree."""
    share = torch.sigmoid((y * c).sum(1, keepdim=True))
    return torch.cat([share, 1 - share], 1)


def test_a_blend_of_constant_weights_is_the_sum_and_of_any_it_lies_between() -> None:
    y, c = torch.randn(9, 3, generator=generator(7)), torch.randn(9, 3, generator=generator(8))
    fixed = torch.tensor([[0.3, 1.2]])
    constant = Blend({"a": A, "b": B}, lambda y, t, c: fixed.expand(len(y), 2))
    expected = Weighted({"a": A, "b": B}, {"a": 0.3, "b": 1.2})
    blend = Blend({"a": A, "b": B}, gate)
    for t in (0, 5, torch.arange(9)):
        torch.testing.assert_close(constant(y, t, c), expected(y, t, c))
        share = gate(y, t, c)[:, :1]
        torch.testing.assert_close(blend(y, t, c), share * A(y, t, c) + (1 - share) * B(y, t, c))
    assert torch.allclose(blend.bind(c)(y, 5), blend(y, 5, c), atol=1e-6)
    assert {*A.parameters()} | {*B.parameters()} == {*blend.parameters()}


def test_a_blend_says_what_is_wrong_with_its_weights() -> None:
    y = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="weight must give numbers of shape"):
        Blend({"a": A, "b": B}, lambda y, t, c: y)(y, 0, y)
    with pytest.raises(FloatingPointError):
        sample(Blend({"a": A, "b": B}, lambda y, t, c: y[:, :2] / 0), y, generator())
    with pytest.raises(ValueError, match="cannot compose"):
        Blend({"a": A, "b": mixture(Process.linear(41))}, gate)


def test_a_blend_is_sampled_and_moved_along_but_has_no_product() -> None:
    """The gate that makes of two Gaussians their mixture: samples follow the mixture."""
    process = Process.linear(100, dy=1, dc=1)
    low, high, both = (
        line(process, *((0.5 if len(ms) > 1 else 1.0, m, 0.04) for m in ms))
        for ms in ((-1.0,), (1.0,), (-1.0, 1.0))
    )

    def shares(y: torch.Tensor, t: int | torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        logs = [member.log_density(y, t, c) for member in (low, high)]
        return torch.stack(logs, 1).softmax(1)

    blend = Blend({"low": low, "high": high}, shares)
    y, c = torch.randn(50, 1, generator=generator(1)), torch.zeros(50, 1)
    for t in (0, 30, 99):
        torch.testing.assert_close(blend(y, t, c), both(y, t, c), atol=1e-4, rtol=1e-4)
    found = product(
        blend, torch.zeros(1, 1), generator(2), draws=2000, weights=None, mcmc=ULA(1)
    ).samples.flatten()
    left = float((found < 0).float().mean())
    assert abs(left - 0.5) < 4 * 0.5 / 2000**0.5
    assert abs(float(found.abs().mean()) - 1) < 0.05
    with pytest.raises(TypeError, match="rule must be a Weighted"):
        product(blend, torch.zeros(1, 1), generator(2))
