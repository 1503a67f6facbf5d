"""Backends for a training step: forward/backward pairs, or fused kernels."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from minivit.backend.cuda import from_bf16, to_bf16
from minivit.backend.random import Purpose
from minivit.data import Batches, Plan
from minivit.data.rand_augment import rand_augment
from minivit.engine.config import TrainConfig
from minivit.engine.fused import Device, FusedStep, require_kernels
from minivit.engine.objective import Objective, StepResult
from minivit.engine.parallel import DataParallel, Layout
from minivit.engine.progressive import Progressive
from minivit.engine.world import World
from minivit.errors import UserError
from minivit.functional import patchify_forward
from minivit.models import Model, ViT
from minivit.optim import SGD, Adam, AdamW, Muon, clip_by_global_norm


class Stepper(Protocol):
    """Trains a model step by step, and evaluates it."""

    def prepare(self, step: int) -> Any:
        """Prepare a step's batch for `train`; called in advance, in another thread."""

    def train(self, batch: Any, step: int, lr: float) -> StepResult:
        """One step of the optimizer; step: the number of steps before it."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        """images float32 (N, C, H, W), normalized -> logits (N, K), on the host."""

    def __enter__(self) -> "Stepper": ...

    def __exit__(self, *_: object) -> None: ...


class Parts(NamedTuple):
    """The parts of a training run."""

    config: TrainConfig
    model: Model
    optimizer: Adam | SGD
    batches: Batches
    objective: Objective
    layout: Layout
    world: World = World()


class PairStepper:
    """Uses the forward/backward pairs of `functional/`, on a CPU's threads or a GPU."""

    def __init__(self, parts: Parts):
        self.parts = parts
        threads, micro_batch, _ = parts.layout
        self.workers = DataParallel(parts.model, threads, micro_batch, parts.world)
        if isinstance(parts.optimizer, Muon):
            distributed = parts.world.size > 1
            parts.optimizer.map = self.workers.map_arrays if distributed else self.workers.map
        total_steps = parts.config.epochs * parts.batches.per_epoch
        self.progressive = Progressive(parts.config.train_sizes, total_steps)
        self.logits, self.loss = self.workers.logits, self.workers.loss

    def __enter__(self) -> "PairStepper":
        self.workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.workers.__exit__(*error)

    def prepare(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch, at the size of the step's stage."""
        images, targets = self.parts.batches.batch(step)
        return self.progressive.resized(images, step), targets

    def train(self, batch: tuple[np.ndarray, np.ndarray], step: int, lr: float) -> StepResult:
        seed, objective = self.parts.config.seed, self.parts.objective
        result = self.workers.loss_and_gradients(*batch, objective, seed, step)
        step_by_gradients(self.parts, lr, self.workers.map)
        return result


class FusedStepper:
    """Uses `FusedStep`: the images are on the device, a step is one graph.

    device: where the model's arrays are.

    Raises:
        UserError: there is no kernel for something in the config.
    """

    def __init__(self, parts: Parts, device: Device):
        require_fused(parts.config)
        config, model, optimizer, batches, *_ = parts
        self.parts, self.device = parts, device
        self.fused = FusedStep(
            cast(ViT, model),
            config.batch_size,
            device,
            config.label_smoothing,
            parts.world.rows(config.batch_size),
        )
        self.in_graph = type(optimizer) is AdamW and not model.flat.frozen
        self.rounded = False  # whether the kernels have the current weights
        split = batches.split
        self.on_host = bool(batches.augmentation.rand_augment)  # it works on images, one by one
        shape = (config.batch_size, *split.images.shape[1:])
        self.images = device.zeros(shape, "uint8") if self.on_host else device.array(split.pixels)
        self.scale, self.offset = map(device.array, batches.statistics.scale_and_offset())
        self.seed = np.random.SeedSequence(
            config.seed, spawn_key=(int(Purpose.DROPOUT),)
        ).generate_state(2, np.uint32)
        self._train: Any = device.replay(self._launch_training)
        self._update: Any = device.replay(self._launch_update)
        self._forward: Any = device.replay(self.fused.forward)

    def __enter__(self) -> "FusedStepper":
        return self

    def __exit__(self, *_: object) -> None:
        self._train = self._update = self._forward = None  # graphs, with everything that they hold

    def prepare(self, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The packed plan, and the images if they are augmented on the host."""
        batches, rng = self.parts.batches, self.parts.batches.rng(step)
        if not self.on_host:
            return batches.plan(step, rng).packed(), None
        augmentation, images = batches.augmentation, batches.split.images[batches.rows(step)]
        images = rand_augment(images, rng, augmentation.rand_augment, augmentation.magnitude)
        plan = batches.plan(step, rng)
        return Plan(np.arange(len(images)), plan.labels, plan.drawn).packed(), images

    def train(self, batch: tuple, step: int, lr: float) -> StepResult:
        packed, images = batch
        if images is not None:
            self.device.upload(self.images, images)
        if not self.rounded:
            self.fused.round_weights()
        self.device.upload(self.fused.inputs, self._inputs(packed, step, lr))
        self._train()
        self._all_reduce()
        self.rounded = self.in_graph
        if self.in_graph:
            self.parts.optimizer.steps += 1
        else:
            step_by_gradients(self.parts, lr)
        sums = self.fused.sums.copy()  # the next step writes there
        return StepResult(sums[0], sums[1])

    def _launch_training(self) -> None:
        fused, parts = self.fused, self.parts
        fused.augment(self.images, self.scale, self.offset, parts.batches.augmentation.crop)
        fused.forward(train=True)
        fused.loss()
        fused.backward()
        if self.in_graph and parts.world.size == 1:
            self._launch_update()

    def _launch_update(self) -> None:
        self.fused.update(cast(AdamW, self.parts.optimizer), self.parts.config.clip_norm)

    def _all_reduce(self) -> None:
        """With other ranks, the graph is split here: gradients, their sum, the update."""
        world, fused = self.parts.world, self.fused
        if world.size > 1:
            world.all_reduce(fused.flat.grad)
            world.all_reduce(fused.sums)
            if self.in_graph:
                self._update()

    def _inputs(self, packed: np.ndarray, step: int, lr: float) -> np.ndarray:
        """As `FusedStep.inputs`: draws, key, state."""
        key = np.array([*self.seed, step, self.fused.rows.start], np.uint32)
        optimizer = self.parts.optimizer
        betas, t = getattr(optimizer, "betas", (0.0, 0.0)), optimizer.steps + 1
        state = np.array([lr, *(1.0 - beta**t for beta in betas)], np.float32)
        return np.concatenate([packed.ravel(), key.view(np.int32), state.view(np.int32)])

    def logits(self, images: np.ndarray) -> np.ndarray:
        fused, config, world = self.fused, self.parts.config, self.parts.world
        B, P = fused.B, config.vit.patch_size
        fused.round_weights()  # the weights may have been replaced by an average
        self.rounded = False
        out = np.zeros((len(images), config.vit.num_classes), np.float32)
        patches = np.zeros(fused.patches.shape, np.uint16)
        local = world.rows(len(images))
        for start in local[::B]:
            part = images[start : min(start + B, local.stop)]
            rows = len(part) * fused.N
            values, _ = patchify_forward(part, P)
            patches[:rows] = to_bf16(values).reshape(rows, -1)
            self.device.upload(fused.patches, patches)
            self._forward()
            found = from_bf16(self.device.download(fused.logits))
            out[start : start + len(part)] = found[: len(part)]
        world.all_reduce(out)  # the rows of other ranks are zeros here
        return out


def require_fused(config: TrainConfig) -> None:
    """Raises UserError for training that only `PairStepper` supports."""
    if config.train_sizes:
        raise UserError(
            "bf16 is not supported for train_sizes; train with --precision fp32 or tf32"
        )
    if config.pretext != "none":
        raise UserError(
            "bf16 is not supported for masked patches; train with --precision fp32 or tf32"
        )
    require_kernels(config.vit)


def step_by_gradients(parts: Parts, lr: float, run: Callable = map) -> None:
    """Clip the gradients and let the optimizer step; run: see `Adam.step`."""
    flat, clip_norm = parts.model.flat, parts.config.clip_norm
    flat.zero_frozen_grad()
    if clip_norm is not None:
        clip_by_global_norm(flat.grad, clip_norm)
    parts.optimizer.step(lr, run)


def make_stepper(parts: Parts) -> Stepper:
    """The backend for the config's precision."""
    if parts.config.precision != "bf16":
        return PairStepper(parts)
    from minivit.backend.cuda.gpu import Gpu

    return FusedStepper(parts, Gpu(parts.config.graph))
