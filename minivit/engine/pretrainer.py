"""Training without labels: masked patch prediction (paper, section B.1.2)."""

from minivit.data import Dataset, Split, normalize
from minivit.engine.config import TrainConfig
from minivit.engine.evaluate import CHUNK, Evaluation
from minivit.engine.objective import PatchPrediction
from minivit.engine.parallel import DataParallel
from minivit.engine.run import Run
from minivit.engine.stepper import PairStepper
from minivit.engine.trainer import Trainer
from minivit.models import MaskedViT


class Pretrainer(Trainer):
    """A `Trainer` whose model predicts corrupted patches; the labels are not looked at.

    Accuracy is the share of the corrupted patches told right; see `PatchPrediction`.
    """

    def _make_objective(self) -> PatchPrediction:
        return PatchPrediction(self.config.pretext, self.statistics)

    def _make_model(self) -> MaskedViT:
        vit = self.config.vit
        outputs = self.objective.outputs(vit.patch_size, vit.in_channels)
        return MaskedViT(vit, outputs, self.config.seed, device=self.config.device)

    def evaluate(self, workers: PairStepper | DataParallel, split: Split) -> Evaluation:
        """The model as it is now, the same patches hidden each time."""
        loss = correct = 0.0
        for start in range(0, len(split), CHUNK):
            part = split[start : start + CHUNK]
            images = normalize(part.images, self.statistics.mean, self.statistics.std)
            found = workers.loss(images, part.labels, self.objective, self.config.seed, start)
            loss += float(found.loss) * len(part)
            correct += float(found.correct)
        return Evaluation(correct / len(split), loss / len(split), None)


def make_trainer(config: TrainConfig, dataset: Dataset, run: Run) -> Trainer:
    """The trainer of the kind that the config asks for."""
    return (Trainer if config.pretext == "none" else Pretrainer)(config, dataset, run)
