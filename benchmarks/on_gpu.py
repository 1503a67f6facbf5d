"""Contenders on a GPU other than PyTorch: minivit in each precision, and the GPU's own limits."""

import numpy as np

from benchmarks.shape import Shape

GEMM = 8192
"""Side of the matrices that measure the rate of products: so large that overhead is negligible."""
COPIED = 2**31
"""Bytes of the array whose copies measure the memory bandwidth: many times larger than caches."""
IMAGES = 50_000


def contender(name: str, shape: Shape):
    """A function that starts one step without waiting for it."""
    if name == "gemm":
        return gemm()
    if name == "copy":
        return copy()
    stepper = make_stepper(shape, name.removeprefix("minivit-"))
    prepared = [stepper.prepare(step) for step in range(4)]
    count = iter(range(10**9))

    def step():
        index = next(count)
        stepper.train(prepared[index % 4], index, 1e-3)

    return step


def make_stepper(shape: Shape, precision: str, device=None):
    """A stepper that does all the work of a training step, including augmentation (which the
    PyTorch contender does not do); device: for the fused kernels, instead of the GPU.
    """
    from minivit import ViT, ViTConfig
    from minivit.backend import use_tf32
    from minivit.data import Batches, Split, Statistics
    from minivit.engine import TrainConfig
    from minivit.engine.objective import Classification
    from minivit.engine.parallel import Layout
    from minivit.engine.stepper import FusedStepper, Parts, make_stepper
    from minivit.optim import AdamW

    batch, where, vit = shape.batch, shape.device, ViTConfig(**shape.vit)
    config = TrainConfig(vit=vit, batch_size=batch, device=where, precision=precision)
    rng = np.random.default_rng(0)
    size = max(batch, IMAGES if where == "cuda" else 0), 3, shape.image_size, shape.image_size
    images = rng.integers(256, size=size, dtype=np.uint8)
    split = Split(images, rng.integers(shape.num_classes, size=len(images)))
    statistics = Statistics((0.5,) * 3, (0.25,) * 3)
    batches = Batches(split, batch, shape.num_classes, config.augmentation, statistics, 0)
    model = ViT(vit, device=where)
    optimizer = AdamW(model.flat, weight_decay=0.05)
    parts = Parts(config, model, optimizer, batches, Classification(0.1), Layout.of(vit, where))
    if device is not None:
        return FusedStepper(parts, device)
    use_tf32(precision == "tf32")
    return make_stepper(parts).__enter__()


def gemm():
    """A product of bf16 matrices, summed in float32: 2·8192³ operations."""
    import cupy

    from minivit.backend.cuda.gpu import Gpu

    gpu, bits = Gpu(), cupy.random.randint(0, 2**16, (2, GEMM, GEMM)).astype("uint16")
    bits &= 0xBFFF  # no infinity, no NaN
    out = gpu.zeros((GEMM, GEMM), "uint16")
    return lambda: gpu.matmul(bits[0], bits[1], out)


def copy():
    """Copy an array: COPIED bytes are read and COPIED bytes are written."""
    import cupy

    source, target = (cupy.zeros(COPIED // 4, "float32") for _ in range(2))
    source += 1
    return lambda: cupy.copyto(target, source)


class Timed:
    """A `Device` that times each launch; graphs are off, so that kernels run one by one."""

    def __init__(self, device, cupy):
        self.device, self.cupy, self.spans = device, cupy, []

    def __getattr__(self, name: str):
        return getattr(self.device, name)

    def launch(self, file, kernel, *arguments, **sizes) -> None:
        self._time(kernel, self.device.launch, file, kernel, *arguments, **sizes)

    def matmul(self, a, b, out, **what) -> bool:
        transposed = what.get("transpose_a"), what.get("transpose_b")
        kind = {(None, None): "", (True, None): ", weights", (None, True): ", inputs"}[transposed]
        return self._time(f"products{kind}", self.device.matmul, a, b, out, **what)

    def replay(self, function):
        return function

    def _time(self, name: str, function, *arguments, **named):
        begin, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        begin.record(self.device.stream)
        result = function(*arguments, **named)
        end.record(self.device.stream)
        self.spans.append((name, begin, end))
        return result

    def milliseconds(self) -> dict[str, float]:
        """Total milliseconds of each kernel since the last call."""
        self.device.stream.synchronize()
        total: dict[str, float] = {}
        for name, begin, end in self.spans:
            spent = self.cupy.cuda.get_elapsed_time(begin, end)
            total[name] = total.get(name, 0.0) + spent
        self.spans.clear()
        return total


def by_kernel(shape: Shape, steps: int = 20) -> list[dict]:
    """Milliseconds per step of each kernel, the slowest first."""
    import cupy

    from minivit.backend.cuda.gpu import Gpu

    device = Timed(Gpu(graph=False), cupy)
    stepper = make_stepper(shape, "bf16", device)
    batch = stepper.prepare(0)
    for step in range(3):
        stepper.train(batch, step, 1e-3)
    device.milliseconds()
    for step in range(steps):
        stepper.train(batch, step, 1e-3)
    spent = {name: total / steps for name, total in device.milliseconds().items()}
    return [
        {"kernel": name, "milliseconds": spent[name], "share": spent[name] / sum(spent.values())}
        for name in sorted(spent, key=spent.get, reverse=True)
    ]
