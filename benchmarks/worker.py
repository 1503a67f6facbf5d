"""One contender in its own process, which runs steps when its standard input asks for them.

Each contender has its own BLAS, threads and memory, so that none affects another.
"""

import json
import os
import sys
import time

from benchmarks.shape import GEMM_REPEATS, Shape


def build(name: str, shape: Shape, train: bool):
    """The function that a contender runs once per step."""
    if shape.device == "cuda" and not name.startswith("torch"):
        from benchmarks import on_gpu

        return on_gpu.contender(name, shape)
    if name == "gemm":
        return gemm(shape)
    if name in ("minivit", "minivit-numpy"):
        return minivit_contender(shape, train)
    if name == "jax":
        from benchmarks import jax_vit

        return jax_vit.contender(shape, train)
    if not name.startswith("torch"):
        raise ValueError(f"there is no contender {name}")
    from benchmarks import torch_vit

    return torch_vit.contender(shape, train, compiled="compiled" in name, bf16="bf16" in name)


def minivit_contender(shape: Shape, train: bool):
    """A step of minivit: what `Trainer` does in a step, except clipping."""
    import minivit  # noqa: I001  (before NumPy: it tunes the host)
    import numpy as np

    from minivit.engine.objective import Classification
    from minivit.engine.parallel import DataParallel
    from minivit.optim import AdamW

    batch, threads = shape.batch, shape.threads
    model = minivit.ViT(minivit.ViTConfig(**shape.vit))
    workers = DataParallel(model, threads).__enter__()
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 3, shape.image_size, shape.image_size), np.float32)
    labels = np.arange(batch) % shape.num_classes
    if not train:
        return lambda: workers.logits(images)
    optimizer = AdamW(model.flat, weight_decay=0.05)

    def step():
        result = workers.loss_and_gradients(images, labels, Classification(0.1), 0, 0)
        optimizer.step(1e-3, workers.map)
        return float(result.loss)

    return step


def gemm(shape: Shape):
    """Products of 1024×1024 float32 matrices on each core: the rate of NumPy's BLAS.

    There are GEMM_REPEATS of them, so that caches and clocks are warm for most of the time.
    """
    import minivit  # noqa: F401, I001  (before NumPy: it tunes the host)
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")
    pool = ThreadPoolExecutor(shape.threads)
    a = [np.ones((1024, 1024), np.float32) for _ in range(3 * shape.threads)]

    def multiply(i: int):
        for _ in range(GEMM_REPEATS):
            np.matmul(a[3 * i], a[3 * i + 1], a[3 * i + 2])

    return lambda: list(pool.map(multiply, range(shape.threads)))


def time_on_gpu(step, count: int) -> list[float]:
    """The mean time of `count` steps; the GPU is synchronized only before and after them."""
    import cupy

    cupy.cuda.Device().synchronize()
    start = time.perf_counter()
    for _ in range(count):
        step()
    cupy.cuda.Device().synchronize()
    return [(time.perf_counter() - start) / count]


def peak_bytes() -> int:
    """Peak memory of this process; 0 on Windows, which has no `resource` module."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes


def main() -> None:
    """Build the contender, then answer each line, a number of steps, with their times and the peak
    memory, as JSON.
    """
    name, sizes, train = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "train"
    responses = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to standard error
    shape = Shape(**sizes)
    if hasattr(os, "sched_setaffinity"):  # all libraries get the same number of cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: shape.threads])
    step = build(name, shape, train)
    for line in sys.stdin:
        seconds = time_on_gpu(step, int(line)) if shape.device == "cuda" else []
        for _ in range(int(line) if shape.device == "cpu" else 0):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        responses.write(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}) + "\n")


if __name__ == "__main__":
    main()
