"""Steps by kernels against steps in NumPy: the same batches and random draws, from the same
start."""

import numpy as np
import pytest
import tiny
from cuda.device_on_cpu import OnCpu
from cuda.lt_on_cpu import LtOnCpu

from minivit.backend import to_host
from minivit.engine import Run, Trainer
from minivit.engine.stepper import FusedStepper, PairStepper, Parts
from minivit.errors import UserError

VIT = {"dim": 32, "num_heads": 2, "depth": 1, "activation": "gelu_tanh"}
KINDS = {
    "AdamW": {},
    "no clipping": {"clip_norm": None},
    "Muon": {"optimizer": "muon"},
    "the head alone": {"trainable": "head"},
    "RandAugment": {"augmentation": {"crop": 1, "rand_augment": 2}},
    "CutMix": {"augmentation": {"crop": 2, "cutmix": 1.0}},
}
LR = 3e-3


def steppers(folder, device, **options):
    """Two identical trainers, each followed by its stepper: one in NumPy, one with kernels."""
    options = {"augmentation": {"crop": 1, "flip": 0.5, "mixup": 0.8}, **options}
    options |= {"label_smoothing": 0.1, "threads": 1}
    where = ("cpu", "cpu" if isinstance(device, OnCpu) else "cuda")
    pair, fused = (tiny.trainer(folder, vit=VIT, device=name, **options) for name in where)
    tiny.randomize(pair.model)
    device.upload(fused.model.flat.data, pair.model.flat.data)

    return pair, PairStepper(parts(pair)), fused, FusedStepper(parts(fused), device)


def parts(trainer):
    return Parts(
        trainer.config,
        trainer.model,
        trainer.optimizer,
        trainer.batches,
        trainer.objective,
        trainer.layout,
    )


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """A device with product epilogues; test_fused_step.py also tests one without."""
    return OnCpu(LtOnCpu()) if request.param == "cpu" else request.getfixturevalue("gpu")


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_both_steppers_train_alike(tmp_path, device, options):
    pair, by_pairs, fused, by_kernels = steppers(tmp_path, device, **options)
    before = pair.model.flat.data.copy()
    with by_pairs, by_kernels:
        for step in range(3):
            results = [s.train(s.prepare(step), step, LR) for s in (by_pairs, by_kernels)]
            assert float(results[1].loss) == pytest.approx(float(results[0].loss), rel=1e-2)
    assert fused.optimizer.steps == pair.optimizer.steps == 3
    moved = [to_host(flat.data) - before for flat in (pair.model.flat, fused.model.flat)]
    error = np.linalg.norm(moved[1] - moved[0]) / np.linalg.norm(moved[0])
    # both optimizers turn small gradients, where bf16 is least accurate, into large steps
    assert error < (0.15 if options.get("optimizer") == "muon" else 0.1)
    for name, shift in fused.model.flat.views(moved[1]).items():
        assert shift.any() == (name not in fused.model.flat.frozen), name


def test_both_steppers_give_the_same_logits(tmp_path, device):
    _, by_pairs, _, by_kernels = steppers(tmp_path, device)
    images = np.random.default_rng(0).standard_normal((19, 3, 8, 8)).astype(np.float32)
    logits = [s.logits(images) for s in (by_pairs, by_kernels)]  # a little more than one batch
    scale = np.abs(logits[0]).max()
    np.testing.assert_allclose(logits[1], logits[0], atol=2e-2 * scale, rtol=0)


def test_logits_use_the_current_weights(tmp_path, device):
    _, _, fused, by_kernels = steppers(tmp_path, device)
    images = np.ones((3, 3, 8, 8), np.float32)
    first = by_kernels.logits(images)
    saved = fused.model.flat.data.copy()
    fused.model.flat.data[...] = 0
    assert not by_kernels.logits(images).any()
    fused.model.flat.data[...] = saved
    np.testing.assert_array_equal(by_kernels.logits(images), first)
    loss = by_kernels.train(by_kernels.prepare(0), 0, LR).loss
    fused.model.flat.data[...] = saved
    assert by_kernels.train(by_kernels.prepare(0), 0, LR).loss != loss  # it was rounded before
    by_kernels.logits(images)
    assert by_kernels.train(by_kernels.prepare(0), 0, LR).loss > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"pretext": "colour"}, "masked patches"), ({"vit": {"stem": "conv"}}, "stem conv")],
)
def test_options_that_need_numpy_are_refused_before_looking_for_a_gpu(tmp_path, changes, words):
    config = tiny.config(device="cuda", precision="bf16", **changes)
    with pytest.raises(UserError, match=f"bf16 is not supported for {words}"):
        Trainer(config, tiny.dataset(), Run(tmp_path))
