"""`course.check` on answers as a student would write them, and its message for each."""

import math

import numpy as np
import pytest

from minivit import course
from minivit.course.exercise import EXERCISES, Exercise, Mistake, add, gradient_of, question
from minivit.course.exercises import find
from minivit.course.grader import Verdict
from minivit.errors import UserError


def message(name, answer) -> str:
    verdict = course.check(name, answer)
    assert not verdict
    assert repr(verdict).startswith(f"{name} ✗ ")
    return verdict.words


# --- 04.b, LayerNorm backward: written independently here, not taken from the exercise


def right(dy, xhat, rstd, gamma):
    C = dy.shape[-1]
    outer = xhat[..., :, None] * xhat[..., None, :]
    jacobian = np.eye(C) - 1 / C - outer / C
    dx = np.einsum("btij,btj->bti", jacobian, gamma * dy) * rstd
    return dx, np.einsum("btc,btc->c", dy, xhat), np.einsum("btc->c", dy)


def mean(a):
    return a.mean(-1, keepdims=True)


def test_a_right_answer_written_differently_passes():
    verdict = course.check("04.b", right)
    assert verdict
    assert "confirmed by finite differences" in verdict.words


def test_a_missing_mean_term_is_named():
    def answer(dy, xhat, rstd, gamma):
        _, dgamma, dbeta = right(dy, xhat, rstd, gamma)
        d = dy * gamma
        return (d - xhat * mean(d * xhat)) * rstd, dgamma, dbeta

    assert "the term mean(dxhat) is missing" in message("04.b", answer)


def test_gamma_outside_the_mean_is_named():
    def answer(dy, xhat, rstd, gamma):
        _, dgamma, dbeta = right(dy, xhat, rstd, gamma)
        return gamma * (dy - mean(dy) - xhat * mean(dy * xhat)) * rstd, dgamma, dbeta

    assert "gamma is outside the means" in message("04.b", answer)


def test_a_missing_sum_over_the_batch_is_named():
    def answer(dy, xhat, rstd, gamma):
        dx, _, dbeta = right(dy, xhat, rstd, gamma)
        return dx, (dy * xhat).sum(1), dbeta

    words = message("04.b", answer)
    assert "taken over axis 1 instead of axis (0, 1)" in words


def test_means_over_the_wrong_axis_are_named():
    def answer(dy, xhat, rstd, gamma):
        _, dgamma, dbeta = right(dy, xhat, rstd, gamma)
        d = gamma * dy
        over_batch = d.mean(0, keepdims=True)
        return rstd * (d - over_batch - xhat * (d * xhat).mean(0)), dgamma, dbeta

    assert "over the batch (axis 0)" in message("04.b", answer)


def test_a_modified_argument_is_named():
    def answer(dy, xhat, rstd, gamma):
        result = right(dy, xhat, rstd, gamma)
        dy *= gamma
        return result

    assert "an argument was changed in place" in message("04.b", answer)


def test_float64_passes_with_a_note():
    def answer(dy, x):
        return right_gelu(dy, x) * np.sqrt(np.float64(1.0))

    verdict = course.check("04.c", answer)
    assert verdict
    assert "Note: dx is float64, although the arguments are float32" in verdict.words


def test_the_failing_case_is_available():
    def answer(dy, xhat, rstd, gamma):
        return dy, *right(dy, xhat, rstd, gamma)[1:]

    assert not course.check("04.b", answer)
    case = course.case("04.b")
    np.testing.assert_array_equal(case.found["dx"], case.arguments["dy"])
    expected = right(*case.arguments.values())
    np.testing.assert_allclose(case.expected["dx"], expected[0])
    assert course.check("04.b", lambda *a: right(*a))
    assert not course.case("04.b").found, "right now"


def test_an_exception_points_to_the_readers_code():
    def answer(dy, xhat, rstd, gamma):
        wide = dy.reshape(-1)
        return wide @ gamma

    words = message("04.b", answer)
    assert "of answer: return wide @ gamma" in words
    assert course.case("04.b").arguments["dy"].ndim == 3


def test_two_mistakes_are_both_named():
    def answer(dy, xhat, rstd, gamma):
        dx = dy - mean(dy) - xhat * mean(dy * xhat)
        return dx, *right(dy, xhat, rstd, gamma)[1:]

    words = message("04.b", answer)
    assert "rstd" in words
    assert "gamma" in words
    assert "and as if" in words


def test_an_unrelated_number_is_not_called_a_factor():
    assert "times what it should be" not in message("08.e", lambda *a: 7.0)


def test_a_loop_where_none_is_allowed_is_refused():
    def answer(dprobs, probs):
        rows = [p * (d - (d * p).sum()) for d, p in zip(dprobs, probs, strict=True)]
        return np.array(rows) if probs.ndim == 2 else right_rows(dprobs, probs)

    def right_rows(dprobs, probs):
        return probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))

    assert "right, but with a loop" in message("03.d", answer)
    assert course.check("03.d", right_rows)


def right_gelu(dy, x):
    cdf = np.vectorize(lambda value: 0.5 * (1 + math.erf(value / math.sqrt(2))))(x)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return (dy * (cdf + x * density)).astype(x.dtype)


# --- mistakes that are recognized in any exercise


def linear(x, weight):
    return x @ weight


def linear_backward(dout, x, weight):
    return dout @ weight.T, x.T @ dout


@pytest.fixture(autouse=True, scope="module")
def exercises():
    """Two exercises defined for these tests."""
    find("04.a")

    def draw(rng, size):
        n, i, o = ((3, 4, 4), (5, 2, 2), (2, 3, 3))[size]
        return rng.standard_normal((n, o)), rng.standard_normal((n, i)), rng.standard_normal((i, o))

    add(
        Exercise("99.a", linear_backward, ("dx", "dweight"), draw,
                 forward=gradient_of(linear, "dx", "dweight")),
        Exercise("99.b", 22_050_664, mistakes=(Mistake("biases were left out", 21_000_000),)),
    )  # fmt: skip
    yield
    del EXERCISES["99.a"], EXERCISES["99.b"]


def changed(change_dx=lambda a: a, change_dweight=lambda a: a):
    def answer(dout, x, weight):
        dx, dweight = linear_backward(dout, x, weight)
        return change_dx(dx), change_dweight(dweight)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (changed(lambda a: -a), "the sign is reversed"),
        (changed(lambda a: 2 * a), "2 times what it should be"),
        (changed(lambda a: 0 * a), "it is zero everywhere"),
        (
            changed(lambda a: a, lambda a: a.T.copy()),
            "dweight is wrong. It looks as if it is transposed",
        ),
        (changed(lambda a: a + 1, lambda a: a + 1), "and should be"),
        (changed(lambda a: a / 0), "infinite"),
        (changed(lambda a: a.sum(0)), "dx has the shape (4,); expected (3, 4)"),
        (changed(lambda a: a.sum(0, keepdims=True)), "summed over one axis too many"),
        (changed(lambda a: a.T), "it is transposed"),
        (changed(lambda a: a.astype(str)), "not an array of numbers"),
        (lambda dout, x, weight: dout @ weight.T, "expected 2 results (dx, dweight), found 1"),
        (lambda dout, x: dout, "TypeError"),
        (lambda dout, x, weight: x @ np.ones((99, 1)), "ValueError"),
        (7, "expected a function, found int 7"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_the_message_for_a_wrong_function(answer, words):
    assert words in message("99.a", answer)


def test_a_right_function_is_confirmed_by_finite_differences():
    verdict = course.check("99.a", linear_backward)
    assert verdict
    assert verdict.words.startswith(
        "right, on 3 sets of arguments, and confirmed by finite differences"
    )


def test_finite_differences_find_a_wrong_reference(monkeypatch):
    """If an exercise's own answer is wrong, its gradient check reports it."""
    wrong = Exercise(
        "99.c", lambda dout, x, weight: (dout @ weight.T, 2 * (x.T @ dout)), ("dx", "dweight"),
        EXERCISES["99.a"].inputs, forward=gradient_of(linear, "dx", "dweight"),
    )  # fmt: skip
    monkeypatch.setitem(EXERCISES, "99.c", wrong)
    assert "finite differences" in message("99.c", wrong.answer)


def test_numbers_as_answers():
    assert course.check("99.b", 22_050_664)
    assert "biases were left out" in message("99.b", 21_000_000)
    assert "3 is not right" in message("99.b", 3)
    assert "is not right" in message("99.b", "many")


def test_a_multiple_choice_question():
    question("99.d", "b", a="too few", b="both, as in the figure", c="too many")
    verdict = course.check("99.d", "b")
    assert verdict
    assert verdict.words == "right: both, as in the figure"
    assert course.check("99.d", " B")
    assert message("99.d", "a") == "not a: too few"
    for other in ("e", 7, np.ones(3), "ab"):
        assert "expected one of the letters a, b, c" in message("99.d", other)
    del EXERCISES["99.d"]


def test_an_unknown_exercise_is_refused():
    with pytest.raises(UserError, match=r"no exercise '04\.z'; expected one of 04\.a, 04\.b"):
        course.check("04.z", right)


def test_a_verdict_is_true_if_the_answer_passed():
    assert Verdict("01.a", True, "right")
    assert not Verdict("01.a", False, "no")
