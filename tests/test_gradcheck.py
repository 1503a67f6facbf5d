"""The gradient check itself: it passes right gradients and finds wrong ones."""

import math
import subprocess
import sys

import numpy as np
import pytest
from helpers import draw

from minivit import functional as f
from minivit.commands.gradcheck import Options, main
from minivit.errors import UserError
from minivit.functional.layernorm import layernorm_backward
from minivit.gradcheck import check_gradients, check_layer, check_pair
from minivit.gradcheck.cases import all_cases
from minivit.layers import Gelu, Linear

X = draw(0, 3, 4, 4)
VECTOR = draw(1, 4)
HEADS = {name: draw(i, 2, 2, 3, 4) for i, name in enumerate("qkv")}
NORM = {"x": X, "gamma": VECTOR, "beta": VECTOR}


def norm_without_mean(dy, cache):
    dx, *other_grads = layernorm_backward(dy, cache)
    dropped = (dy * cache.gamma).mean(-1, keepdims=True)
    return dx + dropped * cache.rstd.reshape(dropped.shape), *other_grads


def norm_without_the_part_along_xhat(dy, cache):
    dx, *other_grads = layernorm_backward(dy, cache)
    dropped = (dy * cache.gamma * cache.xhat).mean(-1, keepdims=True)
    return dx + cache.xhat * dropped * cache.rstd.reshape(dropped.shape), *other_grads


def norm_with_gamma_outside_the_means(dy, cache):
    dx, *_ = layernorm_backward(dy, cache._replace(gamma=np.ones_like(cache.gamma)))
    return cache.gamma * dx, *layernorm_backward(dy, cache)[1:]


def position_of_one_image(dout, cache):
    return dout, dout[:1]


def position_averaged(dout, cache):
    return dout, dout.mean(0, keepdims=True)


def class_token_that_never_learns(dout, cache):
    dx, dcls_token = f.class_token_backward(dout, cache)
    return dx, np.zeros_like(dcls_token)


def linear_with_weight_transposed(dy, cache):
    return dy @ cache[1], *f.linear_backward(dy, cache)[1:]


def attention_without_scale(dout, cache):
    dq, dk, dv = f.attention_backward(dout, cache)
    scale = math.sqrt(cache.q.shape[-1])
    return scale * dq, scale * dk, dv


def softmax_without_correction(dprobs, cache):
    return dprobs * cache


def gelu_off_by_one_part_in_a_million(dy, cache):
    return f.gelu_backward(dy, cache) * (1.0 + 5e-6)


MUTANTS = [
    (f.layernorm_forward, norm_without_mean, NORM, {"x"}),
    (f.layernorm_forward, norm_without_the_part_along_xhat, NORM, {"x"}),
    (f.layernorm_forward, norm_with_gamma_outside_the_means, NORM, {"x"}),
    (f.position_forward, position_of_one_image, {"x": X, "pos_embed": X[:1]}, {"pos_embed"}),
    (f.position_forward, position_averaged, {"x": X, "pos_embed": X[:1]}, {"pos_embed"}),
    (
        f.class_token_forward,
        class_token_that_never_learns,
        {"x": X, "cls_token": X[:1, :1]},
        {"cls_token"},
    ),
    (
        f.linear_forward,
        linear_with_weight_transposed,
        {"x": X, "weight": X[0], "bias": VECTOR},
        {"x"},
    ),
    (f.attention_forward, attention_without_scale, HEADS, {"q", "k"}),
    (f.softmax_forward, softmax_without_correction, {"scores": X}, {"scores"}),
    (f.gelu_forward, gelu_off_by_one_part_in_a_million, {"x": X}, {"x"}),
]


@pytest.mark.parametrize(
    ("forward", "backward", "inputs", "wrong"), MUTANTS, ids=[m[1].__name__ for m in MUTANTS]
)
def test_a_wrong_backward_is_found_and_its_tensor_is_named(forward, backward, inputs, wrong):
    results = check_pair(forward, backward, inputs)
    assert {result.tensor for result in results if not result.passed} == wrong


@pytest.mark.parametrize("directions", [0, 2])
def test_the_wrong_element_is_named(directions):
    def backward(dy, cache):
        dx = f.tanh_backward(dy, cache)
        dx[1, 2, 3] += 7.0
        return dx

    (result,) = check_pair(
        f.tanh_forward, backward, {"x": X}, directions=directions, max_elements=None
    )
    assert not result.passed
    assert result.where == "[1, 2, 3]"
    assert result.analytic - result.numeric == pytest.approx(7.0)


def test_a_single_direction_finds_one_wrong_element():
    def backward(dy, cache):
        dx = f.tanh_backward(dy, cache)
        dx[1, 2, 3] += 1e-3
        return dx

    (result,) = check_pair(f.tanh_forward, backward, {"x": X}, directions=1, max_elements=0)
    assert not result.passed
    assert result.where == "direction 0"


def test_a_nan_gradient_is_wrong():
    (result,) = check_pair(f.tanh_forward, lambda dy, cache: dy * np.nan, {"x": X})
    assert not result.passed


def test_all_zero_gradients_can_be_right():
    (result,) = check_gradients(lambda: 3.0, {"x": np.zeros(3)}, {"x": np.ones(3)})
    assert result.error == 0.0


@pytest.mark.parametrize(
    "check",
    [
        lambda **options: check_pair(f.tanh_forward, f.tanh_backward, {"x": X}, **options),
        lambda **options: check_layer(Gelu(), X, **options),
    ],
    ids=["pair", "layer"],
)
def test_another_seed_tries_another_element(check):
    tried = {check(seed=seed, directions=0, max_elements=1)[0].where for seed in range(4)}
    assert len(tried) > 1


def test_a_single_nan_value_is_wrong():
    x = np.array([1.0, 2.0, 3.0])

    def objective():
        return x.sum() if x[1] == 2.0 else math.nan

    (result,) = check_gradients(objective, {"x": np.ones(3)}, {"x": x}, directions=0)
    assert not result.passed
    assert result.where == "[1]"


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, cache: (), "no gradient for x"),
        (lambda dy, cache: dy[0], "gradient of x has"),
        (lambda dy, cache: dy.astype("float32"), "float32"),
    ],
)
def test_a_gradient_of_the_wrong_type_is_refused(backward, message):
    with pytest.raises(UserError, match=message):
        check_pair(f.tanh_forward, backward, {"x": X})


def test_the_check_does_not_modify_its_inputs():
    x = X.copy()
    check_pair(f.tanh_forward, f.tanh_backward, {"x": x})
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    ("budget", "directions", "elements"),
    [({}, 2, 40), ({"directions": 1, "max_elements": 10}, 1, 10), ({"max_elements": None}, 2, 50)],
)
def test_each_direction_and_each_element_is_tried_once(budget, directions, elements):
    x = np.zeros((5, 10))
    seen = []

    def objective():
        seen.append(frozenset(np.flatnonzero(x)))
        return x.sum()

    (result,) = check_gradients(objective, {"x": np.ones_like(x)}, {"x": x}, **budget)
    assert result.passed
    single = [moved for moved in seen if len(moved) == 1]
    assert len(seen) - len(single) == 4 * directions, "a slope takes four points"
    assert len(single) == 4 * elements
    assert len(set(single)) == elements, "no element twice"


def test_a_layer_whose_bias_never_learns_is_found():
    class Broken(Linear):
        def backward(self, dy, cache):
            dx = super().backward(dy, cache)
            self.bias.grad[...] = 0.0
            return dx

    results = check_layer(Broken(np.random.default_rng(0), 4, 3), X)
    assert {result.tensor for result in results if not result.passed} == {"bias"}


CASES = [pytest.param(case, id=f"{kind}-{name}") for kind, name, case in all_cases()]


@pytest.mark.parametrize("case", CASES)
def test_everything_in_the_table_is_right(case):
    results = case(directions=1, max_elements=2)
    assert results
    assert not [result for result in results if not result.passed]


def test_the_command_exits_with_0_if_all_gradients_are_right():
    command = [sys.executable, "-m", "minivit.gradcheck", "--only", "layernorm", "--elements", "3"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "gamma" in done.stdout
    assert "WRONG" not in done.stdout
    assert " 0 wrong" in done.stdout


def test_the_command_exits_with_1_if_a_gradient_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(f, "layernorm_backward", norm_without_mean)
    assert main(Options(only="layernorm", elements=2)) == 1
    lines = capsys.readouterr().out.splitlines()
    (wrong,) = [line for line in lines if "WRONG" in line]
    assert wrong.split()[:3] == ["pair", "layernorm", "x"]
    assert "1 wrong" in lines[-1]


def test_an_unknown_name_is_reported():
    with pytest.raises(UserError, match="--only no such thing matches no name"):
        main(Options(only="no such thing"))
