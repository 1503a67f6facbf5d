"""The training loop."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator

from minivit.backend import get_xp, to_host, use_device, use_tf32
from minivit.backend.random import Purpose, generator
from minivit.data import Batches, Dataset, Split, Statistics
from minivit.engine.checkpoint import Checkpoint, copy_into, load_checkpoint, save_checkpoint
from minivit.engine.config import TrainConfig
from minivit.engine.evaluate import Evaluation, evaluate
from minivit.engine.interrupt import stop_request
from minivit.engine.objective import Classification, Objective
from minivit.engine.parallel import DataParallel
from minivit.engine.progress import Progress
from minivit.engine.run import Run, restore_weights
from minivit.engine.stepper import Parts, Stepper, make_stepper, require_fused
from minivit.engine.transfer import freeze_all_but, transfer
from minivit.errors import UserError
from minivit.functional.interpolate import Mode
from minivit.models import ViT
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

    Order, augmentation and dropout of a step are drawn from (seed, step), so a checkpoint that
    holds the weights, the optimizer's moments and the step number continues to the bit.

    Args:
        config: with `dataset` decided. dataset: its pictures. run: where to write.

    Raises:
        UserError: config and pictures do not fit together.
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, run: Run):
        _require_fit(config, dataset)
        self.config, self.dataset, self.run = config, dataset, run
        train, self.val = dataset.train.hold_out(
            config.val_fraction, generator(config.seed, Purpose.SPLIT)
        )
        if config.train_images is not None:
            train = train.sample(config.train_images, generator(config.seed, Purpose.SAMPLE))
        self.batches = Batches(
            train,
            config.batch_size,
            dataset.num_classes,
            config.augmentation,
            Statistics.of(train.images),
            config.seed,
        )
        use_device(config.device)
        if config.device != "cpu":
            use_tf32(config.precision == "tf32")
        self.objective = self._make_objective()
        self.model = self._make_model()
        freeze_all_but(self.model, config.trainable)
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
        self.window: list[tuple[float, int]] = []  # (loss, right answers) since the last log line
        self.pending: list = []  # the same, still on the device
        self.epoch_sums = [0.0, 0, 0]  # loss, right answers, steps of this epoch

    def _make_model(self) -> ViT:
        return ViT(self.config.vit, self.config.seed, device=self.config.device)

    def _make_objective(self) -> Objective:
        return Classification(self.config.label_smoothing)

    @property
    def statistics(self) -> Statistics:
        """What the pictures are normalised by."""
        return self.batches.statistics

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps

    def fit(self) -> bool:
        """Train to the end; False if a signal (Ctrl-C) stopped it, after saving.

        Raises:
            UserError: the loss is no longer a number; the last good checkpoint stays.
        """
        config = self.config
        B = config.batch_size
        started = time.perf_counter() - self.seconds
        stepper = make_stepper(
            Parts(config, self.model, self.optimizer, self.batches, self.objective)
        )
        progress = Progress(self.total_steps * B, self.step * B)
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
                if stop and not self.finished:
                    self.save()
                    return False
        return True

    def _train_step(self, stepper: Stepper, batch) -> None:
        result = stepper.train(batch, self.step, self.schedule(self.step))
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.model.flat.data, self.step)
        self.pending.append(result)

    def _read_losses(self) -> None:
        """Fetch the losses of the last steps from the device, and stop where one is no number."""
        if not self.pending:
            return
        first = self.step - len(self.pending) + 1
        xp = get_xp(self.pending[0].loss)  # all in one copy: each would wait for the device
        told = to_host(xp.stack([xp.stack(result) for result in self.pending])).tolist()
        for step, (loss, correct) in enumerate(told, first):
            if not math.isfinite(loss):
                raise self._divergence(f"the loss became {loss}", step)
            self.window.append((loss, correct))
            for i, value in enumerate((loss, correct, 1)):
                self.epoch_sums[i] += value
        self.pending.clear()

    def _require_finite_weights(self) -> None:
        """A step's loss is that of the weights before it: its gradient may have spoilt them."""
        weights = self.model.flat.data
        if not get_xp(weights).isfinite(weights).all():
            raise self._divergence("a weight became infinite or no number", self.step)

    def _divergence(self, what: str, step: int) -> UserError:
        kept = f"the last good checkpoint is {self.run.last}; " if self.run.last.exists() else ""
        return UserError(
            f"{what} at step {step} (epoch {(step - 1) // self.batches.per_epoch + 1}, learning "
            f"rate {self.schedule(step - 1):.2e}); {kept}begin again with a lower --lr, a longer "
            "--warmup or a smaller --clip-norm"
        )

    def _log(self, progress: Progress) -> None:
        self._read_losses()
        loss, accuracy = _means(self.window, self.config.batch_size)
        self.window.clear()
        line = {
            "epoch": self.step / self.batches.per_epoch,
            "loss": loss,
            "accuracy": accuracy,
            "lr": self.schedule(self.step - 1),
            "rate": progress.rate(),
        }
        self.run.append(kind="step", step=self.step, seconds=round(self.seconds, 3), **line)
        progress.show(**line)

    def _end_epoch(self, stepper: Stepper, progress: Progress) -> None:
        self._read_losses()
        loss, correct, steps = self.epoch_sums
        self.epoch_sums = [0.0, 0, 0]
        line = {
            "epoch": self.step // self.batches.per_epoch,
            "train_loss": loss / steps,
            "train_accuracy": correct / (steps * self.config.batch_size),
        }
        told = f"train loss {line['train_loss']:.4f}, accuracy {line['train_accuracy']:.1%}"
        look = self.finished or line["epoch"] % self.config.eval_every == 0
        if look:
            found, best = self._validate(stepper)
            line |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
            told += f"; validation loss {found.loss:.4f}, accuracy {found.accuracy:.1%}"
            told += " (best)" * best
        self.run.append(kind="epoch", step=self.step, seconds=round(self.seconds, 3), **line)
        if look:  # an epoch of a fraction of a second is not worth a checkpoint
            self.save()
        progress.say(f"epoch {line['epoch']}/{self.config.epochs}: {told}")

    def _validate(self, stepper: Stepper) -> tuple[Evaluation, bool]:
        """On the validation pictures; keeps the weights if they are the best so far."""
        with self._weights_to_use():
            found = self.evaluate(stepper, self.val)
            if not math.isfinite(found.loss):
                raise self._divergence(f"the validation loss became {found.loss}", self.step)
            best = found.accuracy > self.best_accuracy
            if best:
                self.best_accuracy = found.accuracy
                self._save_best()
        return found, best

    def evaluate(self, workers: Stepper | DataParallel, split: Split) -> Evaluation:
        """The model as it is now, on a split."""
        return evaluate(workers.logits, split, self.statistics, self.dataset.num_classes)

    def test(self) -> Evaluation:
        """The best weights, on the test split: to be looked at once, at the end."""
        restore_weights(self.model, load_checkpoint(self.run.best), str(self.run.best))
        with DataParallel(self.model, self.config.threads, self.config.micro_batch) as workers:
            found = self.evaluate(workers, self.dataset.test)
        self.run.append(
            kind="test",
            step=self.step,
            seconds=round(self.seconds, 3),
            test_accuracy=found.accuracy,
            test_loss=found.loss,
            data=self.dataset.name,
            confusion=None if found.confusion is None else found.confusion.tolist(),
        )
        return found

    @contextlib.contextmanager
    def _weights_to_use(self) -> Iterator[None]:
        """The moving average in the model's place, where there is one."""
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

    def _state(self) -> dict:
        """All of a checkpoint that is no array of parameters."""
        return {
            "vit": dataclasses.asdict(self.config.vit),
            "pretext": self.config.pretext,
            "data": self.dataset.name,
            "class_names": self.dataset.class_names,
            "mean": self.statistics.mean,
            "std": self.statistics.std,
            "step": self.step,
            "epoch": self.step // self.batches.per_epoch,
            "step_in_epoch": self.step % self.batches.per_epoch,
            "total_steps": self.total_steps,
            "optimizer_steps": self.optimizer.steps,
            "schedule": dataclasses.asdict(self.schedule),
            "random": {"seed": self.config.seed, "step": self.step},
            "best_accuracy": self.best_accuracy,
            "seconds": self.seconds,
            "window": self.window,
            "epoch_sums": self.epoch_sums,
        }

    def save(self) -> None:
        """checkpoints/last: all that is needed to go on. Checks losses and weights first."""
        self._read_losses()
        self._require_finite_weights()
        flat = self.model.flat
        groups = {name: flat.host_views(array) for name, array in self.optimizer.moments.items()}
        if self.ema is not None:
            groups["ema"] = flat.host_views(self.ema.average)
        weights = flat.host_views(flat.data)
        save_checkpoint(self.run.last, Checkpoint(weights, groups, self._state()))

    def _save_best(self) -> None:
        weights = self.model.flat.host_views(self.model.flat.data)
        save_checkpoint(self.run.best, Checkpoint(weights, {}, self._state()))

    def begin_from(self, source: Checkpoint, mode: Mode = "bicubic") -> list[str]:
        """Begin with another training's weights, and with its normalisation of the pictures.

        Returns what was changed on the way; mode and errors: see `transfer`.
        """
        changes = transfer(self.model, source, self.dataset.class_names, mode)
        self.batches.statistics = Statistics.of_state(source.state)
        if self.ema is not None:
            self.ema.average[...] = self.model.flat.data
        return changes

    def resume(self) -> None:
        """Go back to where checkpoints/last was written.

        Raises:
            UserError: no checkpoint, a damaged one, or one of another model or data set.
        """
        source, flat = str(self.run.last), self.model.flat
        checkpoint = load_checkpoint(self.run.last)
        state = checkpoint.state
        if state["total_steps"] != self.total_steps:
            raise UserError(
                f"{source}: of a training of {state['total_steps']} steps, this one has "
                f"{self.total_steps}; the data set or the config changed, begin a new run"
            )
        arrays = {"weights": flat.data, **self.optimizer.moments}
        if self.ema is not None:
            arrays["ema"] = self.ema.average
        for name, array in arrays.items():
            saved = checkpoint.weights if name == "weights" else checkpoint.groups.get(name, {})
            copy_into(flat.views(array), saved, source)
        self.batches.statistics = Statistics.of_state(state)
        self.optimizer.steps = state["optimizer_steps"]
        self.step, self.best_accuracy = state["step"], state["best_accuracy"]
        self.seconds = state["seconds"]
        self.window = [tuple(entry) for entry in state["window"]]
        self.epoch_sums = state["epoch_sums"]
        self.run.forget_after(self.step)


def make_optimizer(config: TrainConfig, model: ViT) -> Adam | SGD:
    """The optimizer that the config names."""
    if config.optimizer == "sgd":
        return SGD(model.flat, config.momentum, config.nesterov, config.weight_decay)
    kind = {"adamw": AdamW, "muon": Muon, "adam": Adam}[config.optimizer]
    return kind(model.flat, config.betas, weight_decay=config.weight_decay)


def _require_fit(config: TrainConfig, dataset: Dataset) -> None:
    """The model must take the pictures as they are, know as many classes, and fit the precision."""
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


def _means(window: list[tuple[float, int]], batch_size: int) -> tuple[float, float]:
    """Mean loss and accuracy of some steps."""
    losses, corrects = zip(*window, strict=True)
    return sum(losses) / len(window), sum(corrects) / (len(window) * batch_size)
