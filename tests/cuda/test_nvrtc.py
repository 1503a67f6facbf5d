"""Every kernel compiles for the GPUs that it is meant for; NVRTC itself needs no GPU."""

import pytest

from minivit.backend.cuda import HERE, source

SHAPES = {
    "layernorm.cu": [{"WIDTH": 192}, {"WIDTH": 257}, {"WIDTH": 1280}],
    "column_sums.cu": [{}],
    "cross_entropy.cu": [{"CLASSES": 10}, {"CLASSES": 1000}],
    "attention.cu": [{"HEAD": 16}, {"HEAD": 32}, {"HEAD": 64}, {"HEAD": 80}],
    "gelu.cu": [{"TANH": 0}, {"TANH": 1}],
    "tokens.cu": [{"CLS": 0}, {"CLS": 1}],
    "sums.cu": [{}],
    "bf16.cu": [{}],
    "adamw.cu": [{}],
    "augment.cu": [
        {"CHANNELS": C, "HEIGHT": H, "WIDTH_PX": W, "PADDING": padding, "PATCH": P}
        for C, H, W, padding, P in ((3, 32, 32, 4, 4), (1, 28, 21, 0, 7), (3, 224, 224, 8, 16))
    ],
}
ARCHITECTURES = (80, 90, 100)


@pytest.fixture(scope="module")
def nvrtc():
    module = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="CuPy is not installed")
    try:
        module.getVersion()
    except RuntimeError:
        pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc-cu12)")
    return module


def test_every_kernel_is_compiled_here():
    assert sorted(path.name for path in HERE.glob("*.cu")) == sorted(SHAPES)


@pytest.mark.parametrize("scalar", ["float", "bf16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", SHAPES)
def test_a_kernel_compiles(nvrtc, file, architecture, scalar):
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    for sizes in SHAPES[file]:
        flags = [f"-D{name}={value}" for name, value in {**sizes, "SCALAR": scalar}.items()]
        program = nvrtc.createProgram(source(file), file, (), ())
        # the last two are CuPy's own
        options = (f"--gpu-architecture=sm_{architecture}", "--std=c++17", *flags, "-ftz=true",
                   "--device-as-default-execution-space")  # fmt: skip
        try:
            nvrtc.compileProgram(program, options)
        except Exception:
            pytest.fail(nvrtc.getProgramLog(program))
        assert nvrtc.getProgramLog(program) in ("", "\0"), "warnings"
