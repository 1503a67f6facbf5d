"""The stack machine of a pickle, without anything that could call code.

It limits instructions, marks, and bytes that become arrays. Every instruction takes constant time,
or time proportional to what earlier ones put on the stack. A value from the file is never printed,
and never traversed or compared more deeply than the few short known values.

Source: the comments in the standard library's `pickletools.py`, which define each instruction.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minivit.errors import shown

_PROTOCOL_2 = b"\x80\x02"
_RECONSTRUCT = "numpy.core.multiarray _reconstruct"
_NDARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
_MAX_NAME_LENGTH = 80  # characters in a name of GLOBAL, and in a dict key
_MAX_DIMENSIONS = 4
# The arguments "type, align, copy" of `dtype`, as old and current NumPy write them.
_BYTE_DTYPES = (("u1", 0, 1), ("u1", False, True))
# The state of `dtype('u1')` in a pickle: version 3, no byte order, no fields, no alignment.
_BYTE_DTYPE_STATE = (3, "|", None, None, None, -1, -1, 0)


class Bounds(NamedTuple):
    """Limits for one pickle.

    A CIFAR-10 batch takes 30,100 instructions and holds 20,000 items, CIFAR-100's train file
    200,300 and 150,000; both nest three deep.
    """

    instructions: int = 400_000
    items: int = 400_000
    depth: int = 8


class RefusedError(Exception):
    """The pickle is well-formed, but uses something outside the small supported set."""


class DamagedError(Exception):
    """The pickle is malformed."""


class _Name(NamedTuple):
    """A function or class named in the file; it is compared, never looked up."""

    dotted: str


class _EmptyArray:
    """The placeholder that `_reconstruct` leaves on the stack until BUILD provides shape and bytes.

    memo_keys: its keys in the memo; later uses of them refer to the filled array.
    """

    def __init__(self) -> None:
        self.memo_keys: list[int] = []


class Machine:
    """Runs the instructions of one pickle; `run` returns its value."""

    def __init__(self, raw: bytes, bounds: Bounds):
        self.raw, self.bounds = raw, bounds
        self.offset = 0
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []  # the stacks put aside at each MARK
        self.memo: dict[int, Any] = {}
        self.array_bytes = len(raw)  # left for arrays: each byte of the file belongs to one

    def run(self) -> Any:
        if self.take(2) != _PROTOCOL_2:
            if self.raw[0] == _PROTOCOL_2[0]:
                raise RefusedError(f"it has protocol {self.raw[1]}, expected 2")
            raise DamagedError("it does not begin with protocol 2")
        for _ in range(self.bounds.instructions):
            code = self.take(1)
            if code == b".":
                return self.pop()
            step = _STEPS.get(code)
            if step is None:
                raise RefusedError(f"it contains {_instruction(code)}")
            step(self)
        raise RefusedError(f"it takes more than {self.bounds.instructions:,} instructions")

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.offset + count
        if end > len(self.raw):
            raise DamagedError("it is cut short")
        data = self.raw[self.offset : end]
        self.offset = end
        return data

    def pop(self) -> Any:
        if not self.stack:
            raise DamagedError("it pops from an empty stack")
        return self.stack.pop()

    def top(self, kind: type, what: str) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise DamagedError(f"it {what} something that is not a {kind.__name__}")
        return self.stack[-1]

    def pop_to_mark(self) -> list:
        if not self.metastack:
            raise DamagedError("it returns to a mark that it has not set")
        items, self.stack = self.stack, self.metastack.pop()
        return items

    def mark(self) -> None:
        if len(self.metastack) >= 2 * self.bounds.depth:
            raise RefusedError(f"it sets more than {2 * self.bounds.depth} marks")
        self.metastack.append(self.stack)
        self.stack = []

    def close_tuple(self) -> None:
        items = self.pop_to_mark()
        self.stack.append(tuple(items))

    def push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise DamagedError("it pops from an empty stack")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def put(self, number: int) -> None:
        value = self.pop()
        self.stack.append(value)
        self.memo[number] = value
        if type(value) is _EmptyArray:
            value.memo_keys.append(number)

    def get(self, number: int) -> None:
        if number not in self.memo:
            raise DamagedError(f"it refers to value {number}, which does not exist")
        self.stack.append(self.memo[number])

    def extend_list(self, items: list) -> None:
        self.top(list, "appends to").extend(items)

    def update_dict(self, items: list) -> None:
        if len(items) % 2:
            raise DamagedError("it has a key without a value")
        keys = items[::2]
        # Short, too: long equal keys would be compared to the last byte, again and again.
        if not all(type(key) is str and len(key) <= _MAX_NAME_LENGTH for key in keys):
            raise DamagedError("it has a dict with a key that is not a short string")
        self.top(dict, "sets items of").update(zip(keys, items[1::2], strict=True))

    def set_item(self) -> None:
        value = self.pop()
        self.update_dict([self.pop(), value])

    def name(self) -> None:
        """GLOBAL: a module and a name in it, each terminated by a newline."""
        parts = []
        for _ in range(2):
            end = self.raw.find(b"\n", self.offset, self.offset + _MAX_NAME_LENGTH)
            if end < 0:
                raise DamagedError("it has an unterminated name")
            parts.append(self.take(end - self.offset).decode("latin-1"))
            self.offset += 1
        named = " ".join(parts)
        if named not in (_RECONSTRUCT, _NDARRAY, _DTYPE):
            raise RefusedError(f"it names {shown('.'.join(parts))}")
        self.stack.append(_Name(named))

    def call(self) -> None:
        """REDUCE: the results of the two known calls; no other call is possible."""
        arguments, function = self.pop(), self.pop()
        if type(function) is not _Name:
            raise RefusedError(f"it calls a {type(function).__name__}")
        if function.dotted == _DTYPE and any(_is(arguments, known) for known in _BYTE_DTYPES):
            self.stack.append(np.dtype(np.uint8))
        elif function.dotted == _RECONSTRUCT and _is(arguments, (_Name(_NDARRAY), (0,), "b")):
            self.stack.append(_EmptyArray())
        else:
            called = function.dotted.replace(" ", ".")
            raise RefusedError(f"it calls {called} with unexpected arguments")

    def build(self) -> None:
        """BUILD: sets the state of the dtype or array on top of the stack."""
        state, top = self.pop(), self.pop()
        if isinstance(top, np.dtype):
            if not _is(state, _BYTE_DTYPE_STATE):
                raise RefusedError("it contains an array that is not of plain bytes")
            self.stack.append(top)
            return
        if type(top) is not _EmptyArray or top.memo_keys is None:
            raise RefusedError(f"it sets the state of a {type(top).__name__.lstrip('_')}")
        array = self.array(state)
        for number in top.memo_keys:
            if self.memo[number] is top:
                self.memo[number] = array
        top.memo_keys = None  # already filled: not twice
        self.stack.append(array)

    def array(self, state: Any) -> np.ndarray:
        """The uint8 array described by (version, shape, dtype, is Fortran order, bytes)."""
        if type(state) is not tuple or len(state) != 5:
            raise RefusedError("it contains an array whose state does not have five parts")
        version, shape, dtype, fortran, data = state
        if not _is(version, 1) or fortran is not False or not isinstance(dtype, np.dtype):
            raise RefusedError("it contains an array that is not of plain bytes in C order")
        if type(data) is not str or type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
            raise DamagedError("it contains an array without a shape or bytes")
        size = 1
        for n in shape:
            if type(n) is not int or not 0 <= n <= len(data):
                raise DamagedError(
                    f"it contains an array whose shape does not fit {len(data)} bytes"
                )
            size *= n
        if size != len(data):
            raise DamagedError(f"it contains an array of shape {shape} with {len(data)} bytes")
        self.array_bytes -= size
        if self.array_bytes < 0:
            raise RefusedError("its arrays have more bytes than the file")
        return np.frombuffer(data.encode("latin-1"), dtype).reshape(shape)


def _is(value: Any, expected: Any) -> bool:
    """Whether `value` is exactly `expected`, including its type; recurses no deeper than
    `expected`.
    """
    if type(value) is not type(expected):
        return False
    if isinstance(expected, tuple):
        return len(value) == len(expected) and all(map(_is, value, expected))
    return value == expected


def _instruction(code: bytes) -> str:
    known = pickletools.code2op.get(code.decode("latin-1"))  # type: ignore[attr-defined]
    return f"the instruction {known.name}" if known else f"an unknown instruction, {code[0]}"


Read = Callable[[Machine], Any]


def _number(form: str) -> Read:
    """A function that reads one number of `struct` format `form` from a machine's bytes."""
    reader = struct.Struct(form)
    return lambda machine: reader.unpack(machine.take(reader.size))[0]


_BYTE, _WORD, _INT, _UINT = map(_number, ("<B", "<H", "<i", "<I"))


def _push(read: Read) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(read(machine))


def _text(length: Read) -> Callable[[Machine], None]:
    return _push(lambda machine: machine.take(length(machine)).decode("latin-1"))


def _long(machine: Machine) -> int:
    return int.from_bytes(machine.take(_BYTE(machine)), "little", signed=True)


# The supported instructions, by their byte; STOP is handled in `run`.
_STEPS = {
    b"K": _push(_BYTE),  # BININT1
    b"M": _push(_WORD),  # BININT2
    b"J": _push(_INT),  # BININT
    b"\x8a": _push(_long),  # LONG1
    b"U": _text(_BYTE),  # SHORT_BINSTRING
    b"T": _text(_UINT),  # BINSTRING
    b"N": _push(lambda machine: None),  # NONE
    b"\x88": _push(lambda machine: True),  # NEWTRUE
    b"\x89": _push(lambda machine: False),  # NEWFALSE
    b"}": _push(lambda machine: {}),  # EMPTY_DICT
    b"]": _push(lambda machine: []),  # EMPTY_LIST
    b")": _push(lambda machine: ()),  # EMPTY_TUPLE
    b"\x85": lambda machine: machine.push_tuple(1),  # TUPLE1
    b"\x86": lambda machine: machine.push_tuple(2),  # TUPLE2
    b"\x87": lambda machine: machine.push_tuple(3),  # TUPLE3
    b"t": Machine.close_tuple,  # TUPLE
    b"(": Machine.mark,  # MARK
    b"q": lambda machine: machine.put(_BYTE(machine)),  # BINPUT
    b"r": lambda machine: machine.put(_UINT(machine)),  # LONG_BINPUT
    b"h": lambda machine: machine.get(_BYTE(machine)),  # BINGET
    b"j": lambda machine: machine.get(_UINT(machine)),  # LONG_BINGET
    b"a": lambda machine: machine.extend_list([machine.pop()]),  # APPEND
    b"e": lambda machine: machine.extend_list(machine.pop_to_mark()),  # APPENDS
    b"s": Machine.set_item,  # SETITEM
    b"u": lambda machine: machine.update_dict(machine.pop_to_mark()),  # SETITEMS
    b"c": Machine.name,  # GLOBAL
    b"R": Machine.call,  # REDUCE
    b"b": Machine.build,  # BUILD
}
