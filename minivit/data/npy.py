"""NumPy's file formats: the header of a .npy, and the arrays of a .npz, without pickles.

`np.load` trusts the header, and raises whatever Python's tokenizer, its evaluator and `dtype` raise
for a damaged one. Here an array is never larger than its bytes in the file.
"""

import io
import math
import zipfile
from typing import IO, NamedTuple

import numpy as np

from minivit.data.zip_archive import read_member


class Header(NamedTuple):
    """The header of an array. fortran: whether its first axis varies fastest."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """Read the header of a .npy file, version 1 or 2; afterwards the file is at the start of the
    array.

    Raises ValueError for an invalid header.
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        header = Header(*readers[np.lib.format.read_magic(file)](file))
    except Exception as error:  # exceptions of many kinds, see above
        raise ValueError(f"not a .npy header: {error}") from None
    if any(type(length) is not int or length < 0 for length in header.shape):
        raise ValueError(f"an array of shape {header.shape}")
    return header


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The array of this name in a .npz; it is read-only.

    Raises ValueError if it is damaged or contains objects.
    """
    member = f"{name}.npy"
    raw = read_member(archive, member, archive.getinfo(member).file_size)
    file = io.BytesIO(raw)
    header = read_header(file)
    if header.size != len(raw) - file.tell():
        raise ValueError(f"{name} has {len(raw) - file.tell():,} bytes, not {header.size:,}")
    if not header.size:
        return np.zeros(header.shape, header.dtype)
    array = np.frombuffer(raw, header.dtype, offset=file.tell())
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays in a .npz."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
