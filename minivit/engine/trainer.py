"""The training loop."""

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from minivit.backend import get_xp, to_host, use_device, use_tf32
from minivit.backend.machine import describe_arithmetic
from minivit.backend.random import Purpose, generator
from minivit.data import Batches, Dataset, Split, Statistics
from minivit.engine.checkpoint import Checkpoint, copy_into, load_checkpoint, save_checkpoint
from minivit.engine.config import TrainConfig
from minivit.engine.distributed import find_world, program_digest
from minivit.engine.evaluation import Evaluation
from minivit.engine.interrupt import stop_request
from minivit.engine.memory import require_training_memory
from minivit.engine.meter import Meter
from minivit.engine.metrics import Kind
from minivit.engine.objective import Classification, Objective, Workers
from minivit.engine.parallel import DataParallel, Layout
from minivit.engine.patch_prediction import PatchPrediction
from minivit.engine.progress import Progress
from minivit.engine.progressive import Progressive
from minivit.engine.run import Run
from minivit.engine.state import TrainState
from minivit.engine.stepper import Parts, Stepper, make_stepper, require_fused
from minivit.engine.trained import Pretrained, require_layers, restore_weights
from minivit.engine.transfer import freeze_all_but, transfer
from minivit.engine.world import World
from minivit.errors import UserError, shown
from minivit.functional.interpolate import Mode
from minivit.models import Build, Model, ViT
from minivit.optim import (
    SGD,
    Adam,
    AdamW,
    ExponentialMovingAverage,
    Muon,
    Schedule,
)


class Trainer:
    """Trains a model; everything it does is a function of the config, the data and the step.

    Order, augmentation and dropout of a step are drawn from (seed, step), so a run that is resumed
    from the weights, the optimizer's moments and the step number continues bit for bit.

    Args:
        config: with `dataset` resolved. dataset: its images. run: where to write; its directory is
        created when training begins. start: the initial weights and normalization; `changes` then
        lists what was changed in them (see `transfer`). mode: how positions are interpolated.
        build: makes the model, from the arguments of `ViT`, for layers of your own.
        on_metrics: called with each dict that becomes a line of metrics.jsonl: its "kind" is
            "step", "epoch" or "test", its "step" and "seconds" say when; the rest are the
            measurements.
        world: the processes that train it together, each with its own `Trainer`; None: those that a
        launcher started.

    Raises:
        UserError: config and images do not match, or the model and `start` do not; or there is too
        little memory.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        run: Run,
        start: Pretrained | None = None,
        mode: Mode = "bicubic",
        build: Build = ViT,
        on_metrics: Callable[[dict[str, Any]], None] | None = None,
        world: World | None = None,
    ):
        self.world = world = world or find_world()
        _require_fit(config, dataset)
        _require_work_for_all(config, world)
        require_training_memory(config)
        self.config, self.dataset = config, dataset
        self.run = run if world.main else run.silent()
        self.on_metrics = on_metrics if world.main else None
        train, self.val = _train_and_val(config, dataset)
        if config.train_images is not None:
            train = train.sample(config.train_images, generator(config.seed, Purpose.SAMPLE))
        statistics = Statistics.of(train.images) if start is None else start.statistics
        self.batches = Batches(
            train,
            config.batch_size,
            dataset.num_classes,
            config.augmentation,
            statistics,
            config.seed,
            config.balance,
        )
        device = world.local_device(config.device)
        use_device(device)
        if device != "cpu":
            use_tf32(config.precision == "tf32")
        self.objective = make_objective(config, statistics)
        self.model: Model = self.objective.build(config.vit, config.seed, device, build)
        self.changes: list[str] = []
        if start is not None:
            self.changes = transfer(self.model, start, dataset.class_names, mode)
        freeze_all_but(self.model, config.trainable)
        self.layout = self._layout(config.threads or world.threads, config.micro_batch)
        self.optimizer = make_optimizer(config, self.model)
        self.ema = None
        if config.ema_decay is not None:
            self.ema = ExponentialMovingAverage(self.model.flat.data, config.ema_decay)
        self.total_steps = config.epochs * self.batches.per_epoch
        self.schedule = Schedule(
            config.schedule,
            config.lr,
            round(config.warmup * self.batches.per_epoch),
            self.total_steps,
            config.final_lr,
        )
        self.step = 0
        self.best_accuracy = -1.0
        self.seconds = 0.0
        self.meter = Meter(config.batch_size)

    @property
    def statistics(self) -> Statistics:
        """The mean and standard deviation that images are normalized with."""
        return self.batches.statistics

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps

    def fit(self) -> bool:
        """Train to the end; False if a signal (Ctrl-C) stopped it, after saving.

        Raises:
            UserError: the loss is no longer finite; the last good checkpoint is kept.
        """
        config = self.config
        B = config.batch_size
        started = time.perf_counter() - self.seconds
        self._require_same_ranks()
        stepper = self.stepper()
        progress = Progress(self.total_steps * B, self.step * B, self.world.main)
        self.world.set_timeout(config.timeout, self._advice())
        with stepper, progress, stop_request() as stop:
            for batch in self.batches.ahead(self.step, self.total_steps, stepper.prepare):
                self._train_step(stepper, batch)
                progress.advance(B)
                self.seconds = time.perf_counter() - started
                if self.step % config.log_every == 0:
                    self._log(progress)
                if self.step % self.batches.per_epoch == 0:
                    self._end_epoch(stepper, progress)
                elif config.save_every and self.step % config.save_every == 0:
                    self.save()
                if self.world.any(bool(stop)) and not self.finished:
                    self.save()
                    return False
        return True

    def stepper(self) -> Stepper:
        """The backend that runs the training steps; see `make_stepper`."""
        return make_stepper(
            Parts(
                self.config,
                self.model,
                self.optimizer,
                self.batches,
                self.objective,
                self.layout,
                self.world,
            )
        )

    def _layout(self, threads: int | None, micro_batch: int | None) -> Layout:
        """How batches are split: on all ranks as on rank 0, so that a resumed run can repeat it."""
        config, ranks = self.config, self.world.size
        return self.world.from_main(
            lambda: Layout.of(config.vit, config.device, threads, micro_batch, ranks)
        )

    def _require_same_ranks(self) -> None:
        """Check that all ranks start alike; otherwise they would not train one model."""
        if self.world.size == 1:
            return
        config = {k: v for k, v in self.config.to_dict().items() if k not in MAY_CHANGE}
        self.world.require_same(
            version_of_minivit=program_digest(),
            arithmetic=describe_arithmetic(self.config.device),
            config=json.dumps(config, sort_keys=True),
            data_set=self.dataset.digest,
            weights=self._weights_digest(),
        )

    def _weights_digest(self) -> str:
        return hashlib.sha256(to_host(self.model.flat.data).data).hexdigest()

    def _advice(self) -> str:
        """What to do about a rank that hangs."""
        return (
            f"the last checkpoint, if there is one yet, is {self.run.last}; find out what hangs, "
            "then resume; --timeout sets how long to wait"
        )

    def _train_step(self, stepper: Stepper, batch: Any) -> None:
        result = stepper.train(batch, self.step, self.schedule(self.step))
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.model.flat.data, self.step)
        self.meter.add(result)

    def _read_losses(self) -> None:
        """Fetch the losses of the last steps from the device, and stop if one is not finite."""
        losses = self.meter.read()
        for step, loss in enumerate(losses, self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise self._divergence(f"the loss became {loss}", step)

    def _require_finite_weights(self) -> None:
        """A step's loss is computed before its update, which may have made the weights
        non-finite.
        """
        weights = self.model.flat.data
        if not get_xp(weights).isfinite(weights).all():
            raise self._divergence("a weight became infinite or NaN", self.step)

    def _divergence(self, what: str, step: int) -> UserError:
        hint = f"the last checkpoint is {self.run.last}; " if self.run.last.exists() else ""
        return UserError(
            f"{what} at step {step} (epoch {(step - 1) // self.batches.per_epoch + 1}, learning "
            f"rate {self.schedule(step - 1):.2e}); {hint}start again with a lower --lr, a longer "
            "--warmup or a smaller --clip-norm"
        )

    def _record(self, kind: Kind, **measured: Any) -> None:
        """Write a line of metrics.jsonl, and pass it to `on_metrics`."""
        line = {"kind": kind, "step": self.step, "seconds": round(self.seconds, 3), **measured}
        self.run.append(**line)
        if self.on_metrics is not None:
            self.on_metrics(line)

    def _log(self, progress: Progress) -> None:
        self._read_losses()
        means = self.meter.end_window()
        line = {
            "epoch": self.step / self.batches.per_epoch,
            "loss": means.loss,
            "accuracy": means.accuracy,
            "lr": self.schedule(self.step - 1),
            "rate": progress.rate(),
        }
        self._record("step", **line)
        progress.show(**line)

    def _end_epoch(self, stepper: Stepper, progress: Progress) -> None:
        self._read_losses()
        means = self.meter.end_epoch()
        line: dict[str, Any] = {
            "epoch": self.step // self.batches.per_epoch,
            "train_loss": means.loss,
            "train_accuracy": means.accuracy,
        }
        message = f"train loss {line['train_loss']:.4f}, accuracy {line['train_accuracy']:.1%}"
        side = Progressive(self.config.train_sizes, self.total_steps).size(self.step - 1)
        if side not in (None, self.config.vit.image_hw[0]):
            message += f" at {side} pixels"  # validation uses images of full size
        validate = self.finished or line["epoch"] % self.config.eval_every == 0
        if validate and len(self.val):
            found, best = self._validate(stepper)
            line |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
            message += f"; validation loss {found.loss:.4f}, accuracy {found.accuracy:.1%}"
            message += " (best)" * best
        elif validate:  # no validation set: the last weights are the result
            with self._weights_to_use():
                self._save_best()
        self._record("epoch", **line)
        if validate:  # an epoch of a fraction of a second is not worth a checkpoint
            self.save()
        progress.write(f"epoch {line['epoch']}/{self.config.epochs}: {message}")

    def _validate(self, stepper: Stepper) -> tuple[Evaluation, bool]:
        """Evaluate on the validation images; keep the weights if they are the best so far."""
        with self._weights_to_use():
            found = self.evaluate(cast(Workers, stepper), self.val)  # bf16 does not use `loss`
            if not math.isfinite(found.loss):
                raise self._divergence(f"the validation loss became {found.loss}", self.step)
            best = found.accuracy >= self.best_accuracy  # in a tie, the later
            if best:
                self.best_accuracy = found.accuracy
                self._save_best()
        return found, best

    def evaluate(self, workers: Workers, split: Split) -> Evaluation:
        """Evaluate the current model on a split."""
        classes, seed = self.dataset.num_classes, self.config.seed
        return self.objective.evaluate(workers, split, self.statistics, classes, seed)

    def test(self) -> Evaluation:
        """Evaluate the best weights on the test split: only once, at the end."""
        best = self.world.from_main(lambda: load_checkpoint(self.run.best))
        restore_weights(self.model, best, str(self.run.best))
        threads, micro_batch, _ = self.layout
        with DataParallel(self.model, threads, micro_batch, self.world) as workers:
            found = self.evaluate(workers, self.dataset.test)
        self._record(
            "test",
            test_accuracy=found.accuracy,
            test_loss=found.loss,
            data=self.dataset.name,
            confusion=None if found.confusion is None else found.confusion.tolist(),
        )
        return found

    @contextlib.contextmanager
    def _weights_to_use(self) -> Iterator[None]:
        """Use the moving average instead of the weights, if there is one."""
        if self.ema is None:
            yield
            return
        flat = self.model.flat
        trained = flat.data.copy()
        flat.data[...] = self.ema.average
        try:
            yield
        finally:
            flat.data[...] = trained

    def _state(self) -> dict[str, Any]:
        """The parts of a checkpoint other than arrays of parameters."""
        per_epoch = self.batches.per_epoch
        state = TrainState(
            vit=self.config.vit,
            pretext=self.config.pretext,
            data=self.dataset.name,
            class_names=self.dataset.class_names,
            mean=self.statistics.mean,
            std=self.statistics.std,
            step=self.step,
            epoch=self.step // per_epoch,
            step_in_epoch=self.step % per_epoch,
            total_steps=self.total_steps,
            optimizer_steps=self.optimizer.steps,
            schedule=dataclasses.asdict(self.schedule),
            random={"seed": self.config.seed, "step": self.step},
            best_accuracy=self.best_accuracy,
            seconds=self.seconds,
            window=self.meter.window,
            epoch_sums=self.meter.epoch,
            config=self.config.to_dict(),
            data_digest=self.dataset.digest,
            threads=self.layout.threads,
            micro_batch=self.layout.micro_batch,
            ranks=self.layout.ranks,
            arithmetic=describe_arithmetic(self.config.device),
            own_layers=self.model.own_layers,
        )
        return state.to_dict()

    def save(self) -> None:
        """Save checkpoints/last: all that is needed to resume. Checks losses and weights first."""
        self._read_losses()
        self._require_finite_weights()
        if self.world.size > 1:
            self.world.require_same(weights=self._weights_digest())
        if not self.world.main:
            return
        flat = self.model.flat
        groups = {name: flat.host_views(array) for name, array in self.optimizer.moments.items()}
        if self.ema is not None:
            groups["ema"] = flat.host_views(self.ema.average)
        weights = flat.host_views(flat.data)
        save_checkpoint(self.run.last, Checkpoint(weights, groups, self._state()))

    def _save_best(self) -> None:
        if not self.world.main:
            return
        weights = self.model.flat.host_views(self.model.flat.data)
        save_checkpoint(self.run.best, Checkpoint(weights, {}, self._state()))

    def resume(self) -> list[str]:
        """Restore the state of checkpoints/last.

        Workers and micro-batch are those that the run began with, unless the config sets others:
        then, and only then, the result differs in the last bits from an uninterrupted run.

        Returns:
            the causes of differences in the last bits from there on, one line each.

        Raises:
            UserError: no checkpoint, a damaged one, or one of another model, config or data set.
        """
        source, flat = str(self.run.last), self.model.flat
        checkpoint = self.world.from_main(lambda: load_checkpoint(self.run.last))
        state = TrainState.from_dict(checkpoint.state, source)
        _require_same_training(state, self.config, self.dataset, self.run)
        require_layers(self.model, state.own_layers, source)
        if state.total_steps != self.total_steps:
            raise UserError(
                f"{source}: from a run of {state.total_steps} steps, this one has "
                f"{self.total_steps}; the data set or the config changed, begin a new run"
            )
        arrays = {"weights": flat.data, **self.optimizer.moments}
        if self.ema is not None:
            arrays["ema"] = self.ema.average
        for name, array in arrays.items():
            saved = checkpoint.weights if name == "weights" else checkpoint.groups.get(name, {})
            copy_into(flat.views(array), saved, source)
        self.batches.statistics = state.statistics
        self.objective = make_objective(self.config, state.statistics)
        self.optimizer.steps = state.optimizer_steps
        self.step, self.best_accuracy = state.step, state.best_accuracy
        self.seconds = state.seconds
        self.meter.window, self.meter.epoch = list(state.window), list(state.epoch_sums)
        self.run.truncate_after(self.step)
        return self._restore_layout(state)

    def _restore_layout(self, state: TrainState) -> list[str]:
        """The layout of the checkpoint, unless the config sets another; a different number of ranks
        uses its own default number of threads.
        """
        notes, config = [], self.config
        if state.threads is not None:
            default = state.threads if state.ranks == self.world.size else self.layout.threads
            threads = config.threads or default
            layout = self._layout(threads, config.micro_batch or state.micro_batch)
            old_layout = Layout(state.threads, state.micro_batch, state.ranks)
            for name, old, new in zip(Layout._fields, old_layout, layout, strict=True):
                if old != new:
                    notes.append(f"{name} was {old}, is {new}: sums are rounded differently")
            self.layout = layout
        arithmetic = describe_arithmetic(config.device)
        if state.arithmetic not in ("", arithmetic):
            notes.append(
                f"it began with {state.arithmetic}, this is {arithmetic}: rounding differs"
            )
        return notes


def _train_and_val(config: TrainConfig, dataset: Dataset) -> tuple[Split, Split]:
    """The training set, and the set by which the best weights are chosen."""
    if dataset.val is not None:
        return dataset.train, dataset.val
    rng = generator(config.seed, Purpose.SPLIT)
    return dataset.train.hold_out(config.val_fraction, rng, stratify=config.stratify)


MAY_CHANGE = {
    "dataset": "checked by its digest",
    "data_dir": "where the images are, not which ones",
    "data_url": "where the images are, not which ones",
    "threads": "reported: last bits",
    "micro_batch": "reported: last bits",
    "timeout": "how long to wait for a rank",
    "device": "reported: last bits",
    "graph": "launches the same kernels",
    "log_every": "only output",
    "save_every": "only output",
}
"""Fields of `TrainConfig` that may change when a run is resumed, with the reason."""


def _require_same_training(
    state: TrainState, config: TrainConfig, dataset: Dataset, run: Run
) -> None:
    """Check that a run is resumed with the config and the images that it began with."""
    began, now = state.config, config.to_dict()
    for name in sorted(set(began) & set(now) - set(MAY_CHANGE)):  # fields known to both versions
        if began[name] != now[name]:
            raise UserError(
                f"{run.config_file}: {_first_difference(name, began[name], now[name])}; restore "
                "it, or begin a new run"
            )
    if state.data_digest not in ("", dataset.digest):
        raise UserError(
            f"{run.path}: the images or labels of {dataset.name} are not those that the run began "
            "with; restore them, or begin a new run"
        )


def _first_difference(name: str, was: Any, now: Any) -> str:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in was:
            if was[key] != now.get(key, was[key]):
                return _first_difference(key, was[key], now[key])
    return f"{name} is {shown(now)}, the run began with {shown(was)}"


def make_objective(config: TrainConfig, statistics: Statistics) -> Objective:
    """The objective that the config names; statistics: of the images' normalization."""
    if config.pretext == "none":
        return Classification(config.label_smoothing)
    return PatchPrediction(config.pretext, statistics)


def make_optimizer(config: TrainConfig, model: Model) -> Adam | SGD:
    """The optimizer that the config names."""
    if config.optimizer == "sgd":
        return SGD(model.flat, config.momentum, config.nesterov, config.weight_decay)
    kind = {"adamw": AdamW, "muon": Muon, "adam": Adam}[config.optimizer]
    return kind(model.flat, config.betas, weight_decay=config.weight_decay)


def _require_work_for_all(config: TrainConfig, world: World) -> None:
    """Check that each rank has some rows of each batch."""
    if world.size > config.batch_size:
        raise UserError(
            f"{world.size} ranks for batches of {config.batch_size} images; start at most one rank "
            "per image, or choose a larger --batch-size"
        )


def _require_fit(config: TrainConfig, dataset: Dataset) -> None:
    """Check that the model matches the images, the classes and the precision."""
    if config.precision == "bf16":
        require_fused(config)
    _, channels, H, W = dataset.train.images.shape
    vit = config.vit
    for flag, have, need in (
        ("in_channels", vit.in_channels, channels),
        ("image_size (height)", vit.image_hw[0], H),
        ("image_size (width)", vit.image_hw[1], W),
        ("num_classes", vit.num_classes, dataset.num_classes),
    ):
        if have != need:
            raise UserError(
                f"{flag} is {have}, but {dataset.name} has {need}; set it to {need} or leave it out"
            )
