"""Every number in a config or a flag has a range, which is enforced wherever the number comes
from."""

import contextlib
import dataclasses
import json
import math
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from helpers import flags_class, sections

from minivit.commands import COMMANDS
from minivit.commands.cli import guarded, parse
from minivit.engine import TrainConfig
from minivit.errors import UserError
from minivit.ranges import Range, Ranged, numeric_fields

BENCHMARKS = ("command", "convolution", "epoch", "gpu")
MODULES = [
    f"minivit.commands.{name}" for name in COMMANDS if name != "pretrain"
]  # has the flags of train
MODULES += [f"benchmarks.{name}" for name in BENCHMARKS]
HUGE = (math.nan, math.inf, -math.inf, 1e308, -1e308, 10**400, -(10**400), 2**63, 2**64)


CLASSES = list(dict.fromkeys(cls for module in MODULES for cls in sections(flags_class(module))))
FIELDS = [
    pytest.param(cls, number, id=f"{cls.__module__}.{cls.__name__}.{number.name}")
    for cls in CLASSES
    if cls.__name__ != "Shape"
    for number in numeric_fields(cls)
]


def test_all_sections_of_the_flags_are_found():
    names = {f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}" for cls in CLASSES}
    assert {"train.Arguments", "config.TrainConfig", "config.ViTConfig", "gpu.Options"} <= names
    assert {"augment.Augmentation", "finetune.FinetuneConfig", "study.Options"} <= names
    assert len(FIELDS) > 80


@pytest.mark.parametrize("cls", CLASSES)
def test_every_number_has_a_range(cls):
    if cls.__name__ == "Shape":  # does not import minivit: see the next test
        return
    assert [number.name for number in numeric_fields(cls) if number.limits is None] == []
    assert issubclass(cls, Ranged) or not numeric_fields(cls)


def test_benchmarks_use_the_same_ranges_as_training():
    """Their `Shape` is also imported in the processes of PyTorch and JAX, which importing minivit
    would tune."""
    from benchmarks.command import Options, shape_of
    from benchmarks.shape import Shape

    for number in numeric_fields(Shape):
        for value in (-1, math.nan, 10**12):
            with pytest.raises(UserError, match=r"expected (0|1)"):
                shape_of(Options(Shape(**{number.name: value})))
    assert shape_of(Options()) == Shape()


# Values to try


def beyond(limits: Range, kind: type) -> list[Any]:
    """Numbers just outside the range, and numbers that are in no range."""
    if kind.__name__ == "Integral":
        return [int(limits.low) - 1, int(limits.high) + 1, limits.low + 0.5, *HUGE, "7", True]
    return [
        math.nextafter(limits.low, -math.inf),
        math.nextafter(limits.high, math.inf),
        *HUGE,
        "7",
        True,
    ]


def shaped(cls: type, name: str, value: Any) -> Any:
    """A value in the form of its field: alone or in a tuple."""
    hint = typing.get_type_hints(cls)[name]
    kinds = [hint, *typing.get_args(hint)]
    if {int, float} & set(kinds) and typing.get_origin(hint) is not tuple:
        return value
    (members,) = [typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is tuple]
    return (value,) if Ellipsis in members else (value,) * len(members)


def make(cls: type, **values: Any) -> Any:
    """An instance; fields without a default are paths or strings."""
    missing = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return cls(**{**dict.fromkeys(missing, Path("x")), **values})


def error_message(call) -> str:
    with pytest.raises(UserError) as raised:
        call()
    message = str(raised.value)
    assert message.isprintable()
    assert len(message) < 300
    return message


@pytest.mark.parametrize(("cls", "number"), FIELDS)
def test_in_python_values_out_of_range_are_refused_with_the_reason(cls, number):
    name, limits = number.name, number.limits
    for value in beyond(limits, number.kind):
        message = error_message(lambda value=value: make(cls, **{name: shaped(cls, name, value)}))
        assert message.startswith(f"{name} is ")
        assert f"expected {limits}" in message
        assert message.endswith(f": {limits.why}")


@pytest.mark.parametrize(("cls", "number"), FIELDS)
def test_the_ends_of_a_range_are_included(cls, number):
    """Unless they conflict with other settings, which the message says."""
    for value in (number.limits.low, number.limits.high):
        expected = shaped(cls, number.name, value)
        try:
            assert getattr(make(cls, **{number.name: expected}), number.name) == expected
        except UserError as error:
            if f"expected {number.limits}" in str(error):
                raise


SETTINGS = [p for p in FIELDS if p.values[0] in sections(TrainConfig)]


@pytest.mark.parametrize(("cls", "number"), SETTINGS)
def test_ranges_are_enforced_in_a_config_file(cls, number):
    for value in beyond(number.limits, number.kind):
        text = json.dumps({number.name: shaped(cls, number.name, value)})
        message = error_message(lambda text=text: TrainConfig.from_dict(json.loads(text), "c.json"))
        assert message.startswith(f"c.json: {number.name} is ")
        assert "expected" in message or "out of range" in message


def flagged(cls: type, number: Any, value: Any) -> list[str]:
    """The command-line arguments that set the field."""
    found = shaped(cls, number.name, value)
    flag = f"--{number.name}".replace("_", "-")
    return [flag, *map(str, found if isinstance(found, tuple) else [found])]


REQUIRED = {
    "attention": ["run"],
    "live": ["run"],
    "evaluate": ["run"],
    "predict": ["run", "image"],
    "study": ["position", "--dataset", "shapes"],
    "finetune": ["--from", "run"],
}


@pytest.mark.parametrize("module", MODULES)
def test_ranges_are_enforced_on_a_command_line(module, capsys):
    options = flags_class(module)
    for cls in sections(options):
        if cls.__name__ == "Shape":
            continue
        for number in numeric_fields(cls):
            for value in (number.limits.low - 1, 10**30, "nan"):
                argv = [*REQUIRED.get(module.rpartition(".")[2], []), *flagged(cls, number, value)]
                refused_in_a_line(options, argv, number, capsys)


def refused_in_a_line(options: type, argv: list[str], number: Any, capsys) -> None:
    """Refused by the range in one line or, if it is not a number, by the parser, which names the
    flag."""
    capsys.readouterr()
    status = None
    with contextlib.suppress(SystemExit):
        status = guarded(lambda: parse(options, argv, "minivit"))
    err = capsys.readouterr().err
    assert "Traceback" not in err
    if status is None:
        assert number.name.replace("_", "-") in err
    else:
        assert status == 2, argv
        assert re.fullmatch(rf"error: {number.name} is .+; expected .+: .+\n", err), err


# Behavior of a range itself


@dataclass(frozen=True)
class Example(Ranged):
    few: Annotated[tuple[int, ...], Range(1, 9, "so it is", "steps", count=(1, 2))] = (1,)
    some: Annotated[float | None, Range(0, 0.5, "half is much")] = None


def test_a_message_is_complete():
    assert error_message(lambda: Example(some=math.inf)) == (
        "some is inf; expected 0 to 0.5, or None: half is much"
    )
    assert (
        error_message(lambda: Example(few=(1, 10))) == "few is 10; expected 1 to 9 steps: so it is"
    )
    assert error_message(lambda: Example(few=(1, 2, 3))) == "few has 3 numbers; expected 1 to 2"
    assert error_message(lambda: Example(few=())) == "few has 0 numbers; expected 1 to 2"
    assert "an integer of 1,329 bits" in error_message(lambda: Example(few=(10**400,)))


def test_integers_and_numpy_numbers_are_accepted():
    import numpy as np

    assert Example(few=(np.int64(9),), some=np.float32(0.5)).few == (9,)
    assert Example(some=0).some == 0
    assert Example(some=-0.0).some == 0
