"""A `Device` of NumPy arrays: kernels compiled by g++, matrix products by NumPy or through
`CublasLt`."""

import numpy as np
from cuda.lt_on_cpu import LtOnCpu
from cuda.on_cpu import call, from_bf16, to_bf16

from minivit.backend.cuda.cublaslt import CublasLt


class OnCpu:
    """extras: none, or those that a matrix product does itself, as cuBLASLt's epilogues do."""

    max_shared = 232_448  # an H200's

    def __init__(self, library: LtOnCpu | None = None):
        workspace = np.empty(1024, np.uint8)
        self.lt = library and CublasLt(library, lambda array: array.ctypes.data, workspace)

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def array(self, host):
        return host.copy()

    def upload(self, array, host):
        array[...] = host

    def download(self, array):
        return array.copy()

    def launch(self, file, kernel, grid, block, *arguments, shared=0, **sizes):
        call(file, kernel, grid, block, *arguments, shared=shared, **sizes)

    def matmul(self, a, b, out, *, bias=None, transpose_a=False, transpose_b=False, **extra):
        if self.lt:
            return self.lt.matmul(
                a, b, out, 0, bias=bias, transpose_a=transpose_a, transpose_b=transpose_b, **extra
            )
        a, b = (from_bf16(x) if x.dtype == np.uint16 else x for x in (a, b))
        product = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
        if bias is not None:
            product = product + (from_bf16(bias) if bias.dtype == np.uint16 else bias)
        out[...] = to_bf16(product) if out.dtype == np.uint16 else product
        return False

    def replay(self, function):
        return function
