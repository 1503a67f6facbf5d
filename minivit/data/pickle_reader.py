"""Reads the pickles of CIFAR-10 without ever running one.

A pickle is a program: `pickle.load` calls whatever the file names, so a file from a stranger can do
anything. But the CIFAR files, written by Python 2 with protocol 2, use about thirty of its
instructions, and name three functions, all to say "here is an array of bytes". `pickletools.genops`
takes a pickle apart without running it; the small stack machine below knows those instructions and
those three names, has nothing to call, and refuses the rest by name.

Source: the comments in the standard library's `pickletools.py`, which define each instruction.
"""

import math
import pickletools
from typing import Any, NamedTuple

import numpy as np

from minivit.errors import UserError

_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

_RECONSTRUCT = "numpy.core.multiarray _reconstruct"
_NDARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
# What follows `dtype('u1')` in a pickle: version 3, no byte order, no fields, no alignment.
_BYTE_DTYPE_STATE = (3, "|", None, None, None, -1, -1, 0)


class _Name(NamedTuple):
    """A function or class that the file names; it is compared, never looked up."""

    dotted: str


class _EmptyArray:
    """What `_reconstruct` leaves on the stack until BUILD brings shape and bytes."""


def read_pickle(raw: bytes, name: str) -> Any:
    """The value in `raw`, made of dict, list, tuple, str, int, bool, None and uint8 arrays.

    Python 2's str is bytes; it becomes a str with one character a byte (latin-1). Arrays are views
    of a read-only buffer. `name` says in errors which file this is.

    Raises UserError for an instruction or a name that CIFAR files do not need, and for a file that
    is cut short or is no pickle.
    """
    try:
        return _Machine().run(raw)
    except _RefusedError as error:
        raise UserError(
            f"{name}: a pickle that is not CIFAR-10's, and so not read: {error}"
        ) from None
    except (ValueError, IndexError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name}: not a pickle, or a damaged one: {reason}") from None


class _RefusedError(Exception):
    """The pickle is well formed, but asks for something outside the small set known here."""


class _Machine:
    """The stack machine of a pickle, less everything that could call anything."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks put aside at each MARK
        self.memo: dict[Any, Any] = {}

    def run(self, raw: bytes) -> Any:
        for op, argument, _ in pickletools.genops(raw):
            if op.name == "STOP":
                return self.stack.pop()
            if op.name in _LITERALS:
                self.stack.append(argument)
            elif op.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[op.name])
            elif op.name in _EMPTY:
                self.stack.append(_EMPTY[op.name]())
            elif op.name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif op.name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            elif op.name in _TUPLE_SIZES:
                self.push_tuple(_TUPLE_SIZES[op.name])
            else:
                self.step(op.name, argument)
        raise ValueError("it has no end")

    def step(self, op: str, argument: Any) -> None:
        """The rarer instructions."""
        match op:
            case "PROTO":
                if argument != 2:
                    raise _RefusedError(f"it has protocol {argument}, expected 2")
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "TUPLE":
                items = self.pop_to_mark()
                self.stack.append(tuple(items))
            case "APPEND":
                self.extend_list([self.stack.pop()])
            case "APPENDS":
                self.extend_list(self.pop_to_mark())
            case "SETITEM":
                value = self.stack.pop()
                self.update_dict([self.stack.pop(), value])
            case "SETITEMS":
                self.update_dict(self.pop_to_mark())
            case "GLOBAL":
                if argument not in (_RECONSTRUCT, _NDARRAY, _DTYPE):
                    raise _RefusedError(f"it names {_short(argument.replace(' ', '.'))}")
                self.stack.append(_Name(argument))
            case "REDUCE":
                arguments = self.stack.pop()
                self.stack.append(_call(self.stack.pop(), arguments))
            case "BUILD":
                self.build(self.stack.pop())
            case _:
                raise _RefusedError(f"it holds the instruction {op}")

    def pop_to_mark(self) -> list:
        items, self.stack = self.stack, self.below.pop()
        return items

    def push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise IndexError("the stack is empty")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def extend_list(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("it appends to something that is not a list")
        self.stack[-1].extend(items)

    def update_dict(self, items: list) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise TypeError("it sets items of something that is not a dict")
        keys = items[::2]
        if not all(type(key) is str for key in keys):
            raise TypeError("it holds a dict with a key that is not a string")
        self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def build(self, state: Any) -> None:
        """Gives the dtype or the array on top of the stack its state."""
        top = self.stack[-1]
        if isinstance(top, np.dtype):
            if state != _BYTE_DTYPE_STATE:
                raise _RefusedError("it holds an array that is not of plain bytes")
            return
        if not isinstance(top, _EmptyArray):
            raise _RefusedError(f"it sets the state of a {type(top).__name__}")
        array = _array(state)
        self.stack[-1] = array
        # The empty array was numbered before it was filled; later uses of its number mean this one.
        self.memo = {key: array if value is top else value for key, value in self.memo.items()}


def _call(function: Any, arguments: Any) -> Any:
    """What the two known calls give; there is no way to any other."""
    if function == _Name(_DTYPE) and arguments == ("u1", 0, 1):
        return np.dtype(np.uint8)
    if function == _Name(_RECONSTRUCT) and arguments == (_Name(_NDARRAY), (0,), "b"):
        return _EmptyArray()
    called = function.dotted.replace(" ", ".") if isinstance(function, _Name) else function
    raise _RefusedError(f"it calls {_short(called)} with unexpected arguments")


def _array(state: Any) -> np.ndarray:
    """The uint8 array that a state (version, shape, dtype, is Fortran order, bytes) describes."""
    if type(state) is not tuple or len(state) != 5:
        raise _RefusedError("it holds an array whose state has not five parts")
    version, shape, dtype, fortran, data = state
    if version != 1 or fortran is not False or not isinstance(dtype, np.dtype):
        raise _RefusedError("it holds an array that is not of plain bytes, row by row")
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise TypeError("it holds an array whose shape is not a tuple of sizes")
    if type(data) is not str or len(data) != math.prod(shape):
        raise ValueError(
            f"it holds an array of shape {_short(shape)} with other than as many bytes"
        )
    return np.frombuffer(data.encode("latin-1"), dtype).reshape(shape)


def _short(value: Any) -> str:
    """`value` for an error's one line, however long or strange the file made it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
