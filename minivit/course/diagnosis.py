"""What a wrong answer looks like, in words.

A cause is named only if it explains the answer on all arguments that were tried. The candidates are
the common mistakes of the exercise, then slips in the code of the right answer, then pairs of them.
If no cause explains the answer, the message says where it differs and by how much.
"""

import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minivit.course.exercise import Exercise
from minivit.course.slips import Code, confusions, read, slips
from minivit.course.trial import Trial, as_array, copied, same, unpacked

PAIRS = 500
"""Maximum number of pairs of mistakes to try."""


def diagnose(exercise: Exercise, trials: list[Trial], wrong: list[int]) -> str:
    """Describe the wrong results; a cause that several results share is named once."""
    names: dict[str, list[str]] = {}
    causes = _causes(exercise, trials, wrong)
    for i in wrong:
        words = f"It looks as if {causes[i]}" if i in causes else _describe(exercise, trials, i)
        names.setdefault(words, []).append(exercise.outputs[i])
    return ". ".join(
        f"{' and '.join(found)} {'are' if len(found) > 1 else 'is'} wrong. {words}"
        for words, found in names.items()
    )


def _causes(exercise: Exercise, trials: list[Trial], wrong: list[int]) -> dict[int, str]:
    """The cause of each wrong result, where known: preferably one cause for all of them."""
    causes: dict[int, str] = {}
    for find in (_common, _moved, _slipped, _scaled, _changed_arguments, _confused, _pairs):
        found: dict[int, str] = {}
        for words, candidate in find(exercise, trials):
            unexplained = [i for i in wrong if i not in causes]
            explained = _explained(candidate, trials, unexplained)
            if find is not _common:
                explained = [i for i in explained if _wrong_but_finite(trials, i)]
            if explained and len(explained) == len(unexplained):
                return causes | dict.fromkeys(explained, words)
            for i in explained:
                found.setdefault(i, words)
        causes |= found
        if len(causes) == len(wrong):
            break
    return causes


def _explained(candidate: Callable, trials: list[Trial], results: list[int]) -> list[int]:
    """Those of the results that equal the candidate's on all arguments. Empty if any other result
    of the candidate is neither right nor equal to the given one: the candidate is then not the
    cause.
    """
    for trial in trials:
        found = _results(candidate, trial)
        if found is None or len(found) != len(trial.returned):
            return []
        equal = [same(g, f, trial.rtol) for g, f in zip(trial.returned, found, strict=True)]
        results = [i for i in results if equal[i]]
        if not results:
            return []
        for i in range(len(found)):
            if not equal[i] and not same(found[i], trial.expected[i], trial.rtol):
                return []
    return results


def _wrong_but_finite(trials: list[Trial], i: int) -> bool:
    """Whether a result is wrong and finite for some arguments: all causes of NaN look alike."""
    return any(
        np.isfinite(as_array(t.returned[i]).astype(float)).all()
        and not same(t.returned[i], t.expected[i], t.rtol)
        for t in trials
    )


def _results(candidate: Callable, trial: Trial) -> tuple | None:
    try:
        with np.errstate(all="ignore"):
            return unpacked(candidate(*copied(trial.arguments)), len(trial.expected))
    except Exception:  # some mistakes are impossible with some shapes
        return None


Candidates = Iterator[tuple[str, Callable]]

RESULT_CHANGES: dict[str, Callable] = {
    "the sign is reversed": np.negative,
    "it is zero everywhere": lambda r: np.zeros_like(r) if np.ndim(r) else None,
    "it is the square of what it should be": np.square,
    "it is the square root of what it should be": np.sqrt,
    "it is 1 minus what it should be": lambda r: 1 - r,
    "it is the reciprocal: 1 divided by what it should be": lambda r: 1 / r,
    "it is the exponential of what it should be": np.exp,
    "it is 2 to the power of what it should be": np.exp2,
    "it is the logarithm of what it should be": np.log,
    "it is the absolute value of what it should be": np.abs,
    "it is a cumulative sum": lambda r: np.cumsum(r, -1),
    "softmax was applied to it": lambda r: np.exp(r) / np.exp(r).sum(-1, keepdims=True),
    "it is divided by its sum along the last axis": lambda r: r / r.sum(-1, keepdims=True),
    "it is divided by its largest number along the last axis": (
        lambda r: r / r.max(-1, keepdims=True)
    ),
}
"""Operations that may have been applied to a right result by mistake."""

ARGUMENT_CHANGES: dict[str, Callable] = {
    "{} is left out": lambda a: 0 * a,
    "{} is left out, as if it were 1": lambda a: a**0,
    "{} is counted twice": lambda a: 2 * a,
    "only half of {} is counted": lambda a: a / 2,
    "the sign of {} is wrong": lambda a: -a,
    "{} is squared": lambda a: a * a,
    "the square root of {} is taken": np.sqrt,
    "it is divided by {} where it should be multiplied, or vice versa": lambda a: 1 / a,
    "{} is too large by 1": lambda a: a + 1,
    "{} is too small by 1": lambda a: a - 1,
    "{} is read in reverse order": lambda a: a[::-1],
    "{} is read in reverse order along its last axis": lambda a: a[..., ::-1],
    "{} is transposed": lambda a: a.swapaxes(-1, -2),
    "only the first element of {} is used for all": lambda a: np.repeat(a[:1], len(a), 0),
    "only the mean of {} is used": lambda a: np.full_like(a, a.mean()),
    "the mean of {} was subtracted first": lambda a: a - a.mean(-1, keepdims=True),
}
"""Operations that may have been applied to an argument that should be used unchanged."""


def _common(exercise: Exercise, trials: list[Trial]) -> Candidates:
    for mistake in exercise.mistakes:
        yield mistake.words, mistake.wrong


def _moved(exercise: Exercise, trials: list[Trial]) -> Candidates:
    """Right numbers in the wrong place, direction or order."""

    count = len(exercise.outputs)
    for i, j in itertools.permutations(range(count), 2):
        words = f"{exercise.outputs[j]} is where {exercise.outputs[i]} should be: are they swapped?"
        yield words, lambda *a, i=i, j=j: _copy_result(exercise.answer(*a), i, j, count)
    for i, right in enumerate(trials[0].expected):
        changes = dict(RESULT_CHANGES)
        if np.ndim(right) > 1:
            changes["it is transposed"] = lambda r: np.swapaxes(r, -1, -2)
        for axis in range(np.ndim(right)):
            changes[f"axis {axis} is in reverse order"] = lambda r, axis=axis: np.flip(r, axis)
        for words, change in changes.items():
            yield words, lambda *a, i=i, c=change: _change(exercise.answer(*a), i, c, count)
    for i, argument in enumerate(trials[0].arguments):
        if isinstance(argument, np.ndarray):
            words = f"the argument {_parameter(exercise, i)} was returned unchanged"
            yield words, lambda *a, i=i: (a[i],) * count


def _change(right: Any, i: int, change: Callable, count: int) -> tuple:
    results = list(unpacked(right, count))
    results[i] = change(np.asarray(results[i]))
    return tuple(results)


def _copy_result(right: Any, i: int, j: int, count: int) -> tuple:
    results = list(unpacked(right, count))
    results[i] = results[j]
    return tuple(results)


def _parameter(exercise: Exercise, i: int) -> str:
    code = exercise.answer.__code__
    return code.co_varnames[i] if i < code.co_argcount else f"number {i + 1}"


def _slipped(exercise: Exercise, trials: list[Trial]) -> Candidates:
    yield from _run(slips, read(exercise.answer))
    names = [_parameter(exercise, i) for i in range(len(trials[0].arguments))]
    for i, j in itertools.combinations(range(len(names)), 2):
        words = f"{names[i]} and {names[j]} are swapped"
        yield words, lambda *a, i=i, j=j: exercise.answer(*_swapped(a, i, j))


def _changed_arguments(exercise: Exercise, trials: list[Trial]) -> Candidates:
    """The right answer for changed arguments."""
    for i, argument in enumerate(trials[0].arguments):
        if isinstance(argument, np.ndarray | int | float):
            for template, change in ARGUMENT_CHANGES.items():
                words = template.format(_parameter(exercise, i))
                yield (
                    words,
                    lambda *a, i=i, change=change: exercise.answer(*_with_changed(a, i, change)),
                )


def _with_changed(arguments: tuple, i: int, change: Callable) -> list:
    changed = list(arguments)
    changed[i] = change(arguments[i])
    return changed


def _swapped(arguments: tuple, i: int, j: int) -> list:
    changed = list(arguments)
    changed[i], changed[j] = arguments[j], arguments[i]
    return changed


def _confused(exercise: Exercise, trials: list[Trial]) -> Candidates:
    yield from _run(confusions, read(exercise.answer))


def _run(changes: Callable, code: Code | None) -> Candidates:
    if code is not None:
        for words, changed in changes(code):
            yield words, changed.run()


def _scaled(exercise: Exercise, trials: list[Trial]) -> Candidates:
    """Off by a constant factor, or by the length of an argument's axis."""
    for i in range(len(exercise.outputs)):
        factors = [_factor(trial, i) for trial in trials if np.any(as_array(trial.expected[i]))]
        if len(factors) < 3 or None in factors:
            continue
        words = _factor_words(exercise, trials, [f for f in factors if f is not None])
        if words:
            results = iter([(*t.expected[:i], t.returned[i], *t.expected[i + 1 :]) for t in trials])
            yield words, lambda *a, results=results: next(results)


def _factor_words(exercise: Exercise, trials: list[Trial], factors: list[float]) -> str:
    if np.allclose(factors, factors[0], rtol=1e-6) and not np.isclose(factors[0], 1):
        return f"it is {factors[0]:.6g} times what it should be: a factor is missing or superfluous"
    trials = [trial for trial in trials if np.any(as_array(trial.expected[0]))]
    for i, argument in enumerate(trials[0].arguments):
        for axis in range(np.ndim(argument) if isinstance(argument, np.ndarray) else 0):
            lengths = [np.shape(t.arguments[i])[axis:][:1] for t in trials]
            if not all(lengths) or len(lengths) != len(factors):
                continue
            sizes = np.array(lengths, float)[:, 0]
            if len(set(sizes)) == 1:
                continue
            axis_words = f"the length of axis {axis} of {_parameter(exercise, i)}"
            if np.allclose(factors, 1 / sizes, rtol=1e-6):
                return f"it was divided by {axis_words}, as for a mean"
            if np.allclose(factors, sizes, rtol=1e-6):
                return f"the division by {axis_words} is missing: a sum instead of a mean"
    return ""


def _factor(trial: Trial, i: int) -> float | None:
    """k where found = k·expected, else None."""
    found, expected = as_array(trial.returned[i]), as_array(trial.expected[i])
    if found.shape != expected.shape or not expected.ndim or expected.size < 2:
        return None
    found, expected = found.astype(float), expected.astype(float)
    if not np.isfinite(found).all() or not (expected * expected).sum():
        return None
    factor = float((found * expected).sum() / (expected * expected).sum())
    return factor if factor and same(found, factor * expected, trial.rtol) else None


def _pairs(exercise: Exercise, trials: list[Trial]) -> Candidates:
    """Two mistakes at once: a common one combined with another or with a slip, or two slips."""
    code = read(exercise.answer)
    singles = list(slips(code)) if code else []
    slipped = [(words, changed.run()) for words, changed in singles]
    common = [(mistake.words, mistake.wrong) for mistake in exercise.mistakes]
    pairs = itertools.chain(
        _within(common, common, exercise), _within(common, slipped, exercise),
        ((f"{a}, and as if {b}", c.run()) for a, first in singles for b, c in slips(first)),
    )  # fmt: skip
    yield from itertools.islice(pairs, PAIRS)


def _within(outer: list, inner: list, exercise: Exercise) -> Candidates:
    """A mistake that calls the right answer, made to call a wrong one instead."""
    for (a, first), (b, second) in itertools.product(outer, inner):
        changed = _calling(first, exercise.answer, second) if first is not second else None
        if changed is not None:
            yield f"{a}, and as if {b}", changed


def _calling(function: Any, right: Callable, other: Callable) -> Callable | None:
    """The function with calls of `right` replaced by `other`, also in functions it closes over."""
    if not isinstance(function, types.FunctionType) or function is right:
        return None
    closure = function.__closure__
    scope = function.__globals__
    called = [name for name in function.__code__.co_names if scope.get(name) is right]
    if closure:
        cells = [_calling(cell.cell_contents, right, other) for cell in closure]
        if any(cells):
            closure = tuple(
                types.CellType(new) if new else old for new, old in zip(cells, closure, strict=True)
            )
    if not called and closure is function.__closure__:
        return None
    scope = scope | dict.fromkeys(called, other)
    changed = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, closure
    )
    changed.__kwdefaults__ = function.__kwdefaults__
    return changed


def _describe(exercise: Exercise, trials: list[Trial], i: int) -> str:
    """Where result i is wrong, and by how much."""
    wrong = [
        trial for trial in trials if not same(trial.returned[i], trial.expected[i], trial.rtol)
    ]
    first = wrong[0]
    prefix = ""
    if all(trial.hard for trial in wrong):
        prefix = f"It is right elsewhere, but not {first.hard}. "
    found, expected = as_array(first.returned[i]), as_array(first.expected[i])
    name = exercise.outputs[i]
    if found.dtype.kind not in "biuf":
        return f"{prefix}It is not an array of numbers, but {found.dtype}"
    if found.shape != expected.shape:
        return prefix + _shape_words(name, found.shape, expected.shape)
    found, expected = found.astype(float), expected.astype(float)
    if not np.isfinite(found).all() and np.isfinite(expected).all():
        kind = "NaN" if np.isnan(found).any() else "infinite"
        return (
            f"{prefix}Some of its numbers are {kind}, from a division by zero, the square root of "
            "a negative number, or an exponential that overflows"
        )
    difference = np.abs(found - expected)
    worst = np.unravel_index(np.nanargmax(difference), found.shape)
    location = f"at [{', '.join(map(str, worst))}] it is" if found.ndim else "it is"
    fraction = np.mean(difference > first.rtol * (np.abs(expected).max() or 1))
    amount = f"{fraction:.0%} of its numbers are off; " if found.ndim else ""
    return f"{prefix}{amount}{location} {found[worst]:.6g} and should be {expected[worst]:.6g}"


def _shape_words(name: str, found: tuple, expected: tuple) -> str:
    words = f"{name} has the shape {found}; expected {expected}"
    if len(found) > 1 and found == expected[::-1]:
        return f"{words}. It looks transposed"
    if len(found) > len(expected) and found[len(found) - len(expected) :] == expected:
        return (
            f"{words}. A sum over the leading axes is missing: a parameter shared by all rows gets "
            "the sum of their gradients"
        )
    if len(found) == len(expected) and all(
        a == b or a == 1 for a, b in zip(found, expected, strict=True)
    ):
        return f"{words}. It was summed over one axis too many"
    return words
