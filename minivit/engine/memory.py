"""The memory that training needs, computed before anything is allocated."""

from minivit.backend.machine import require_memory
from minivit.engine.config import TrainConfig
from minivit.engine.parallel import Layout
from minivit.models.cost import num_activations, num_parameters

FLOAT = 4
MOMENTS = {"adamw": 2, "adam": 2, "sgd": 1, "muon": 1}
"""How many numbers an optimizer keeps per weight; where Muon uses only one, its second array is
never touched and takes no memory.
"""


def training_memory(config: TrainConfig) -> dict[str, int]:
    """Bytes by purpose, a lower bound: what must fit and is easily counted."""
    layout = Layout.of(config.vit, config.device, config.threads, config.micro_batch)
    workers, micro_batch, _ = layout
    weights = FLOAT * num_parameters(config.vit)
    per_worker = -(-config.batch_size // workers)
    rows = min(micro_batch or per_worker, per_worker)
    H, W = config.vit.image_hw
    pixels = config.batch_size * config.vit.in_channels * H * W
    return {
        "weights": weights,
        "gradients": workers * weights,
        "optimizer": MOMENTS[config.optimizer] * weights,
        "moving average": weights * (config.ema_decay is not None),
        # bf16's kernels keep less, and no attention map
        "activations": (config.precision != "bf16")
        * min(workers, config.batch_size)
        * rows
        * FLOAT
        * num_activations(config.vit, config.device),
        "batches": (config.device == "cpu") * 2 * FLOAT * pixels,
    }


def require_training_memory(config: TrainConfig) -> None:
    """Raises UserError if the machine or the GPU has less memory than training needs."""
    require_memory("this training", training_memory(config), config.device)
