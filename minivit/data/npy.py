"""NumPy's own files: the header of a .npy, and the arrays of a .npz, without pickles.

`np.load` believes what a header says, and raises whatever Python's tokenizer, its evaluator and
`dtype` raise for one that is damaged. Here an array is no larger than its bytes.
"""

import io
import math
import zipfile
from typing import IO, NamedTuple

import numpy as np

from minivit.data.zip_archive import read_member


class Header(NamedTuple):
    """What comes before an array's bytes. fortran: whether its first axis is the innermost."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """The header of a .npy file, of version 1 or 2; then the file is where its array begins.

    Raises ValueError for what is none.
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        found = Header(*readers[np.lib.format.read_magic(file)](file))
    except Exception as error:  # of many kinds, see above
        raise ValueError(f"not a .npy header: {error}") from None
    if any(type(length) is not int or length < 0 for length in found.shape):
        raise ValueError(f"an array of shape {found.shape}")
    return found


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The array of that name in a .npz; it cannot be written to.

    Raises ValueError for one that is damaged or has objects in it.
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
    """Of the arrays in a .npz."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
