"""Matrix products by cuBLASLt, through ctypes: CuPy's own products do not support bf16 or graph
capture.

cuBLASLt is column-major. A row-major matrix read by columns is its transpose; so for out = a b we
request outᵀ = bᵀ aᵀ, and nothing is ever transposed in memory. What follows a product (bias, GELU
and its derivative, the gradient of the bias) runs in the same kernel, as its epilogue.
"""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, NamedTuple

# cublasLt.h and library_types.h
COMPUTE_32F, R_32F, R_16BF = 68, 0, 14
TYPES = {"float32": R_32F, "uint16": R_16BF}  # bf16's bits are kept in uint16
TRANSA, TRANSB, EPILOGUE, BIAS_POINTER, AUX_POINTER, AUX_LD = 3, 4, 7, 8, 11, 12
DEFAULT, BIAS, GELU_AUX_BIAS, DGELU, BGRADA = 1, 4, 164, 192, 256
MAX_WORKSPACE_BYTES, MIN_ALIGNMENTS = 1, (5, 6, 7, 8)  # of A, B, C, D
SUCCESS = 0


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t: opaque."""

    _fields_ = [("data", c_uint64 * 8)]


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algorithm", Algorithm),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    ]


class Plan(NamedTuple):
    """How cuBLASLt computes products of given shapes."""

    operation: c_void_p
    layouts: tuple[c_void_p, c_void_p, c_void_p]
    algorithm: Algorithm


class CublasLt:
    """Products of row-major, contiguous matrices, float32 or bf16 (as uint16), aligned to 16 bytes.

    Args:
        library: libcublasLt as ctypes loads it. address: returns the address of an array.
        workspace: a device array that cuBLASLt may use.
    """

    def __init__(self, library: Any, address: Callable[[Any], int], workspace: Any):
        self.library, self.address, self.workspace = library, address, workspace
        self.handle = c_void_p()
        self.plans: dict[tuple, Plan | None] = {}
        self._call("cublasLtCreate", byref(self.handle))

    def matmul(
        self,
        a: Any,
        b: Any,
        out: Any,
        stream: int,
        *,
        bias: Any = None,
        bias_gradient: Any = None,
        gelu: Any = None,
        dgelu: Any = None,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> bool:
        """out = op(a) op(b), with the extra operations of `Device.matmul`; returns whether they
        were done.
        """
        if gelu is not None:
            epilogue, vector, result, aux = GELU_AUX_BIAS, bias, gelu, out
        elif dgelu is not None:
            epilogue, vector, result, aux = DGELU, None, out, dgelu
        elif bias_gradient is not None:
            epilogue, vector, result, aux = BGRADA, bias_gradient, out, None
        else:
            epilogue, vector, result, aux = (DEFAULT if bias is None else BIAS), bias, out, None
        if self._multiply(a, b, result, stream, epilogue, vector, aux, transpose_a, transpose_b):
            return epilogue in (GELU_AUX_BIAS, DGELU, BGRADA)
        plain = DEFAULT if bias is None else BIAS
        if not self._multiply(a, b, out, stream, plain, bias, None, transpose_a, transpose_b):
            raise RuntimeError(f"cuBLASLt cannot multiply {a.shape} by {b.shape} into {out.dtype}")
        return False

    def _multiply(
        self,
        a: Any,
        b: Any,
        out: Any,
        stream: int,
        epilogue: int,
        vector: Any,
        aux: Any,
        transpose_a: bool,
        transpose_b: bool,
    ) -> bool:
        """Multiply; returns False if cuBLASLt has no kernel for this product."""
        key = (a.shape, b.shape, str(a.dtype), str(out.dtype), epilogue, transpose_a, transpose_b)
        if key not in self.plans:
            self.plans[key] = self._plan(a, b, out, epilogue, vector, aux, transpose_a, transpose_b)
        plan = self.plans[key]
        if plan is None:
            return False
        self._set_pointers(plan.operation, vector, aux)
        first, second, third = plan.layouts
        alpha, beta = c_float(1.0), c_float(0.0)
        out_address = c_void_p(self.address(out))
        self._call(
            "cublasLtMatmul", self.handle, plan.operation, byref(alpha),
            c_void_p(self.address(b)), first, c_void_p(self.address(a)), second, byref(beta),
            out_address, third, out_address, third, byref(plan.algorithm),
            c_void_p(self.address(self.workspace)), c_size_t(self.workspace.nbytes),
            c_void_p(stream),
        )  # fmt: skip
        return True

    def _plan(
        self,
        a: Any,
        b: Any,
        out: Any,
        epilogue: int,
        vector: Any,
        aux: Any,
        transpose_a: bool,
        transpose_b: bool,
    ) -> Plan | None:
        operation = c_void_p()
        self._call("cublasLtMatmulDescCreate", byref(operation), COMPUTE_32F, R_32F)
        self._set(operation, TRANSA, c_int32(transpose_b))  # cuBLASLt's A is b, see above
        self._set(operation, TRANSB, c_int32(transpose_a))
        self._set(operation, EPILOGUE, c_uint32(epilogue))
        if aux is not None:
            self._set(operation, AUX_LD, c_int64(aux.shape[1]))
        self._set_pointers(operation, vector, aux)  # the choice depends on their alignment
        layouts = self._layout(b), self._layout(a), self._layout(out)
        found, count = Heuristic(), c_int()
        first, second, third = layouts
        status = self.library.cublasLtMatmulAlgoGetHeuristic(
            self.handle, operation, first, second, third, third, self._preference(), 1,
            byref(found), byref(count),
        )  # fmt: skip
        if status != SUCCESS or not count.value or found.state != SUCCESS:
            return None
        return Plan(operation, layouts, found.algorithm)

    def _preference(self) -> c_void_p:
        """The size of the workspace and the alignment of the matrices."""
        preference = c_void_p()
        self._call("cublasLtMatmulPreferenceCreate", byref(preference))
        attributes = {MAX_WORKSPACE_BYTES: c_size_t(self.workspace.nbytes)}
        for attribute, value in (attributes | dict.fromkeys(MIN_ALIGNMENTS, c_uint32(16))).items():
            self._call("cublasLtMatmulPreferenceSetAttribute", preference, attribute, byref(value),
                       c_size_t(ctypes.sizeof(value)))  # fmt: skip
        return preference

    def _layout(self, x: Any) -> c_void_p:
        """The layout of a row-major matrix, read by columns."""
        rows, columns = x.shape
        layout = c_void_p()
        self._call("cublasLtMatrixLayoutCreate", byref(layout), TYPES[str(x.dtype)],
                   c_uint64(columns), c_uint64(rows), c_int64(columns))  # fmt: skip
        return layout

    def _set_pointers(self, operation: c_void_p, vector: Any, aux: Any) -> None:
        for attribute, array in ((BIAS_POINTER, vector), (AUX_POINTER, aux)):
            if array is not None:
                self._set(operation, attribute, c_void_p(self.address(array)))

    def _set(self, operation: c_void_p, attribute: int, value: Any) -> None:
        size = c_size_t(ctypes.sizeof(value))
        self._call("cublasLtMatmulDescSetAttribute", operation, attribute, byref(value), size)

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, getattr(self.library, name)(*arguments))

    def _check(self, name: str, status: int) -> None:
        if status != SUCCESS:
            raise RuntimeError(f"{name} failed with status {status}; see cublasStatus_t")
