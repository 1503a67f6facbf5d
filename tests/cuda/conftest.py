"""Every kernel test runs twice: compiled by g++ for the CPU, and on a GPU if there is one."""

import numpy as np
import pytest
from cuda import on_cpu
from cuda.device_on_cpu import OnCpu
from cuda.lt_on_cpu import LtOnCpu

on_gpu = pytest.param("gpu", marks=pytest.mark.gpu)


@pytest.fixture(params=["cpu", on_gpu])
def call(request):
    """call(file, kernel, grid, block, *arguments, shared=0, **sizes): NumPy arrays are modified in
    place."""
    return on_cpu.call if request.param == "cpu" else _call_on_gpu(request.getfixturevalue("gpu"))


@pytest.fixture(params=["plain products", "products with epilogues", on_gpu])
def device(request):
    """A `Device`; on the CPU, once with matrix products without epilogues and once with
    epilogues."""
    if request.param == "gpu":
        return request.getfixturevalue("gpu")
    return OnCpu(LtOnCpu() if "epilogues" in request.param else None)


@pytest.fixture(scope="session")
def gpu(cupy):
    from minivit.backend.cuda.gpu import Gpu

    return Gpu()


def _call_on_gpu(gpu):
    def call(file, kernel, grid, block, *arguments, shared=0, **sizes):
        passed = [gpu.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
        gpu.launch(file, kernel, grid, block, *passed, shared=shared, **sizes)
        for argument, array in zip(arguments, passed, strict=True):
            if isinstance(argument, np.ndarray):
                argument[...] = gpu.download(array)

    return call
