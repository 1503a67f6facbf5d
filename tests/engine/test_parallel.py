"""Threads and micro-batches change only the time that a step takes."""

import dataclasses
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
from threadpoolctl import threadpool_info, threadpool_limits

from minivit.backend import RandomStream
from minivit.backend.blas import uses_accelerate
from minivit.engine import DataParallel, physical_cores
from minivit.engine.objective import Classification
from minivit.functional import cross_entropy_backward, cross_entropy_forward
from minivit.models import ViT

B, SEED, STEP = 7, 3, 5
NOISY = dataclasses.replace(tiny.VIT, dropout=0.2, attn_dropout=0.2, drop_path=0.3)
SPLITS = [(threads, size) for threads in (1, 2, 3) for size in (1, 3, None)]


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def batch(mixed=False):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((B, 3, 8, 8)).astype(np.float32)
    targets = rng.dirichlet(np.ones(4), B).astype(np.float32) if mixed else rng.integers(4, size=B)
    return images, targets


def make_model(config=NOISY, dtype="float32"):
    return tiny.randomize(ViT(config, dtype=dtype))


def step(config=NOISY, threads=1, micro_batch=None, mixed=False):
    """The model with the gradients of one step, and the step's result."""
    model = make_model(config)
    with DataParallel(model, threads, micro_batch) as workers:
        result = workers.loss_and_gradients(*batch(mixed), Classification(0.1), SEED, STEP)
    return model, result


def reference(mixed=False):
    """Loss, number of correct predictions and gradients of a float64 model in one pass over the
    batch."""
    model = make_model(dtype="float64")
    model.flat.data[...] = make_model().flat.data
    images, targets = batch(mixed)
    logits, cache = model.forward(images.astype(np.float64), True, RandomStream(SEED, STEP))
    loss, loss_cache = cross_entropy_forward(logits, targets, 0.1)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    best = targets.argmax(-1) if mixed else targets
    return float(loss), int((logits.argmax(-1) == best).sum()), model.flat.views(model.flat.grad)


@pytest.mark.parametrize(("threads", "micro_batch"), SPLITS)
@pytest.mark.parametrize("mixed", [False, True])
def test_gradients_agree_with_one_pass_in_float64(threads, micro_batch, mixed):
    loss, correct, expected = reference(mixed)
    model, result = step(threads=threads, micro_batch=micro_batch, mixed=mixed)
    total = np.sqrt(sum((gradient**2).sum() for gradient in expected.values()))
    for name, gradient in model.flat.views(model.flat.grad).items():
        scale = np.linalg.norm(expected[name]) + 0.01 * total
        assert np.linalg.norm(gradient - expected[name]) < 1e-5 * scale, name
        assert np.linalg.norm(expected[name]) > 0, name
    assert float(result.loss) == pytest.approx(loss, rel=1e-6)
    assert int(result.correct) == correct


@pytest.mark.parametrize(("threads", "micro_batch"), SPLITS)
def test_masks_do_not_depend_on_threads_or_micro_batches(threads, micro_batch):
    whole, split = step(micro_batch=B)[1], step(threads=threads, micro_batch=micro_batch)[1]
    assert float(split.loss) == pytest.approx(float(whole.loss), rel=1e-6)


def test_masks_differ_between_steps():
    with DataParallel(make_model(), 1) as workers:
        losses = {
            float(workers.loss_and_gradients(*batch(), Classification(0.1), seed, step).loss)
            for seed, step in ((0, 0), (0, 1), (1, 0))
        }
    assert len(losses) == 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_number_of_threads_gives_the_same_bits(threads):
    first, again = (step(threads=threads, micro_batch=2) for _ in range(2))
    assert first[0].flat.grad.tobytes() == again[0].flat.grad.tobytes()
    assert float(first[1].loss) == float(again[1].loss)


def test_gradients_of_the_previous_step_are_discarded():
    model = make_model()
    with DataParallel(model, 2) as workers:
        workers.loss_and_gradients(*batch(), Classification(0.1), SEED, STEP)
        first = model.flat.grad.copy()
        workers.loss_and_gradients(*batch(), Classification(0.1), SEED, STEP)
    np.testing.assert_array_equal(model.flat.grad, first)


def test_a_batch_may_have_fewer_images_than_threads():
    images, labels = (array[:2] for array in batch())
    alone, shared = make_model(), make_model()
    with DataParallel(alone, 1) as single, DataParallel(shared, 5) as five:
        expected = single.loss_and_gradients(images, labels, Classification(0.1), SEED, STEP)
        found = five.loss_and_gradients(images, labels, Classification(0.1), SEED, STEP)
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-6)
    np.testing.assert_allclose(shared.flat.grad, alone.flat.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("threads", "micro_batch"), SPLITS)
def test_logits_agree_with_the_model(threads, micro_batch):
    model, (images, _) = make_model(), batch()
    with DataParallel(model, threads, micro_batch) as workers:
        np.testing.assert_allclose(workers.logits(images), model(images), rtol=1e-5, atol=1e-6)
        assert workers.logits(images[:0]).shape == (0, 4)


def test_workers_follow_the_models_weights():
    model, (images, _) = make_model(), batch()
    with DataParallel(model, 3) as workers:
        before = workers.logits(images)
        model.flat.data *= 0.5
        np.testing.assert_allclose(workers.logits(images), model(images), rtol=1e-5, atol=1e-6)
        assert not np.allclose(workers.logits(images), before)


@pytest.mark.parametrize("threads", [1, 2])
def test_blas_uses_one_thread_inside_and_the_previous_number_afterwards(threads):
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with DataParallel(make_model(), threads):
            assert blas_threads() == [1] * len(before)
        assert blas_threads() == before
    assert before or uses_accelerate()


def test_an_error_in_a_worker_reaches_the_caller():
    images, labels = batch()
    with DataParallel(make_model(), 2) as workers, pytest.raises(ValueError, match="shape"):
        workers.loss_and_gradients(images[:, :2], labels, Classification(0.1), SEED, STEP)


def test_there_is_at_least_one_physical_core(monkeypatch):
    assert physical_cores() >= 1
    with DataParallel(make_model()) as workers:
        assert len(workers.replicas) == physical_cores()
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert physical_cores() >= 1


def test_concurrent_gradient_computations_are_refused():
    """Otherwise one would find the other's gradients in the model."""
    entered, leave = threading.Event(), threading.Event()

    class Slow(Classification):
        def __call__(self, *args):
            entered.set()
            leave.wait(10)
            return super().__call__(*args)

    with DataParallel(make_model(), 2) as workers, ThreadPoolExecutor(1) as other:
        first = other.submit(workers.loss_and_gradients, *batch(), Slow(0.1), SEED, STEP)
        assert entered.wait(10)
        with pytest.raises(RuntimeError, match="a DataParallel of its own"):
            workers.loss_and_gradients(*batch(), Classification(0.1), SEED, STEP)
        leave.set()
        first.result()
        workers.loss_and_gradients(*batch(), Classification(0.1), SEED, STEP)  # released again


def test_logits_may_be_computed_from_several_threads():
    model, (images, _) = make_model(), batch()
    with DataParallel(model, 2, 1) as workers, ThreadPoolExecutor(4) as others:
        expected = workers.logits(images)
        for found in others.map(workers.logits, [images] * 20):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks as POSIX has them")
def test_a_forked_process_gets_its_own_workers():
    model, (images, _) = make_model(), batch()
    with DataParallel(model, 2) as workers:
        expected = workers.logits(images)
        child = os.fork()
        if not child:  # a hang would block the parent: an alarm ends the child
            signal.alarm(20)
            os._exit(int(not np.array_equal(workers.logits(images), expected)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
