# ruff: noqa: N802  (the names are cublasLt.h's)
"""The part of libcublasLt that minivit calls, in NumPy: reads memory column by column from
pointers.

It is written from cublasLt.h, not from minivit's binding: a wrong transposition, leading dimension
or epilogue gives wrong numbers here as it would on a GPU. It knows only what the caller passes.
"""

import ctypes

import numpy as np

from minivit.backend.cuda import from_bf16, to_bf16

OK, INVALID, NOT_SUPPORTED = 0, 7, 15
SIZES = {3: 4, 4: 4, 7: 4, 8: 8, 11: 8, 12: 8}  # bytes of a matmul descriptor's attributes
R_32F, R_16BF, COMPUTE_32F = 0, 14, 68


class LtOnCpu:
    """epilogues: those that are supported."""

    def __init__(self, epilogues=(1, 4, 164, 192, 256)):
        self.epilogues, self.objects, self.done = epilogues, {}, []

    def _new(self, out, content) -> int:
        number = len(self.objects) + 1
        self.objects[number], out._obj.value = content, number
        return OK

    def cublasLtCreate(self, out):
        return self._new(out, "handle")

    def cublasLtMatmulDescCreate(self, out, compute, scale):
        if (compute, scale) != (COMPUTE_32F, R_32F):
            return INVALID
        return self._new(out, {3: 0, 4: 0, 7: 1, 8: None, 11: None, 12: 0})

    def cublasLtMatmulDescSetAttribute(self, description, attribute, value, size):
        if SIZES.get(attribute) != size.value:
            return INVALID
        self.objects[description.value][attribute] = value._obj.value
        return OK

    def cublasLtMatrixLayoutCreate(self, out, kind, rows, columns, leading):
        return self._new(out, (kind, rows.value, columns.value, leading.value))

    def cublasLtMatmulPreferenceCreate(self, out):
        return self._new(out, {})

    def cublasLtMatmulPreferenceSetAttribute(self, preference, attribute, value, size):
        if {1: 8, 5: 4, 6: 4, 7: 4, 8: 4}.get(attribute) != size.value:
            return INVALID
        self.objects[preference.value][attribute] = value._obj.value
        return OK

    def cublasLtMatmulAlgoGetHeuristic(
        self, handle, operation, a, b, c, d, preference, max_results, out, count
    ):
        assert self.objects[handle.value] == "handle"
        operation = self.objects[operation.value]
        if operation[7] not in self.epilogues:
            count._obj.value = 0
            return NOT_SUPPORTED
        if operation[7] in (164, 192) and operation[12] % 8:
            return INVALID
        assert all(self.objects[preference.value][attribute] == 16 for attribute in (5, 6, 7, 8))
        assert operation[7] == 1 or operation[8] or operation[11], "alignment is looked at here"
        out._obj.state, count._obj.value = OK, 1
        return OK

    def cublasLtMatmul(self, handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout,
                       d, d_layout, algorithm, workspace, size, stream):  # fmt: skip
        a_transposed, b_transposed, epilogue, vector, aux, aux_ld = self.objects[
            operation.value
        ].values()
        assert (alpha._obj.value, beta._obj.value) == (1.0, 0.0)
        assert not any(matrix.value % 16 for matrix in (a, b, c, d))
        left, right = self._read(a, a_layout), self._read(b, b_layout)
        left, right = left.T if a_transposed else left, right.T if b_transposed else right
        out = left @ right
        kind, rows, columns, leading = self.objects[d_layout.value]
        assert out.shape == (rows, columns)
        if epilogue in (4, 164):  # bias: one per row, of the result's type
            out = out + self._array(vector, kind, rows)[:, None]
        if epilogue in (164, 192):
            assert aux_ld % 8 == 0
            assert aux_ld >= rows
        if epilogue == 164:  # GELU; its input goes to aux
            self._write(aux, R_16BF, aux_ld, out)
            out = out * _cdf(out)
        elif epilogue == 192:
            out = out * _derivative(self._matrix(aux, R_16BF, rows, columns, aux_ld))
        elif epilogue == 256:  # the bias's gradient: sums of A's rows over k
            self._memory(vector, kind, rows)[...] = _stored(left.sum(1), kind)
        self._write(d.value, kind, leading, out)
        self.done.append(epilogue)
        return OK

    def _read(self, pointer, layout):
        kind, rows, columns, leading = self.objects[layout.value]
        return self._matrix(pointer.value, kind, rows, columns, leading)

    def _memory(self, address, kind, count):
        item = ctypes.c_uint16 if kind == R_16BF else ctypes.c_float
        return np.ctypeslib.as_array((item * count).from_address(address))

    def _array(self, address, kind, count):
        found = self._memory(address, kind, count)
        return from_bf16(found) if kind == R_16BF else found.copy()

    def _matrix(self, address, kind, rows, columns, leading):
        """(rows, columns), with columns `leading` elements apart."""
        return self._array(address, kind, leading * columns).reshape(columns, leading)[:, :rows].T

    def _write(self, address, kind, leading, matrix):
        columns = matrix.shape[1]
        columns_memory = self._memory(address, kind, leading * columns).reshape(columns, leading)
        columns_memory[:, : len(matrix)] = _stored(matrix, kind).T


def _stored(x, kind):
    return to_bf16(x) if kind == R_16BF else x


def _cdf(x):
    return 0.5 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def _derivative(x):
    cdf = _cdf(x)
    return cdf + 2 * x * cdf * (1 - cdf) * 0.7978845608 * (1 + 3 * 0.044715 * x**2)
