"""Find the library that an array belongs to, and move arrays between devices."""

import importlib.util
import sys
from types import ModuleType
from typing import TypeAlias

import numpy as np

from minivit.errors import UserError
from minivit.ranges import whole_number

Array: TypeAlias = np.ndarray
"""A `numpy.ndarray`, or a `cupy.ndarray`, which has the same methods.

(CuPy may not be installed, so the type checker sees NumPy's.)
"""


def get_xp(x: Array) -> ModuleType:
    """The library that `x` belongs to: `numpy` or `cupy`.

    CuPy is considered only once it has been imported: before that no array can belong to it.
    """
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def require_same_xp(**arrays: Array) -> ModuleType:
    """The library that all these arrays belong to; a mixture of both is an error.

    Raises:
        UserError: the arrays belong to both libraries.
    """
    owner = {name: get_xp(array) for name, array in arrays.items()}
    if len(set(owner.values())) > 1:
        found = ", ".join(f"{name} is a {xp.__name__} array" for name, xp in owner.items())
        raise UserError(f"{found}; expected one library; move one of them with backend.to_device")
    return next(iter(owner.values()))


def astype_like(x: Array, like: Array) -> Array:
    """`x` in the dtype of `like`; not copied if it has that dtype already."""
    return x.astype(like.dtype, copy=False)


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array (a CuPy array is copied, which waits for the GPU)."""
    return x if get_xp(x) is np else x.get()  # type: ignore[attr-defined]  # CuPy's


def to_device(x: Array, device: str) -> Array:
    """`x` as an array of `device` ("cpu", "cuda", "cuda:1"); raises UserError as `parse_device`."""
    index = parse_device(device)
    if index is None:
        return to_host(x)
    import cupy

    with cupy.cuda.Device(index):
        return cupy.asarray(x)


def use_device(device: str) -> None:
    """Make `device` the current CuPy device of this thread; does nothing for a CPU."""
    index = parse_device(device)
    if index is not None:
        import cupy

        cupy.cuda.Device(index).use()


def use_tf32(enabled: bool) -> None:
    """Set whether CuPy's float32 matrix products may round their inputs to TF32 (10 bits).

    This is the setting of CuPy's environment variable CUPY_TF32, which is read too early for a
    flag.
    """
    from cupy._core import set_compute_type
    from cupy._core._routines_linalg import COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_TF32

    set_compute_type(np.float32, COMPUTE_TYPE_TF32 if enabled else COMPUTE_TYPE_DEFAULT)


def parse_device(device: str) -> int | None:
    """None for "cpu", the GPU's number for "cuda" (0) or "cuda:N".

    Raises:
        UserError: an unknown device, CuPy not installed, no driver, or no such GPU.
    """
    if device == "cpu":
        return None
    name, _, number = device.partition(":")
    index = whole_number(number or "0")
    if name != "cuda" or index is None:
        raise UserError(f'device "{device}" is unknown; expected cpu, cuda or cuda:N')
    if importlib.util.find_spec("cupy") is None:
        raise UserError(
            f"--device {device} needs CuPy, which is not installed; "
            'pip install "cupy-cuda12x[ctk]" (or "cupy-cuda13x[ctk]"), or use --device cpu'
        )
    count = count_gpus()
    if index >= count:
        raise UserError(
            f"--device {device} needs GPU number {index}, but {count} NVIDIA GPU(s) were found; "
            "use a smaller number or --device cpu"
        )
    return index


def count_gpus() -> int:
    """The number of GPUs that CuPy sees."""
    import cupy

    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:  # no driver, or no device
        return 0
