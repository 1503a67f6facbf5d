"""Pieces of the gradient are summed over ranks while backward still runs, each once and none too
early."""

import numpy as np
import pytest
import tiny

from minivit.engine import DataParallel
from minivit.engine.gradient_sum import pieces
from minivit.engine.objective import Classification
from minivit.engine.world import World
from minivit.layers import Linear
from minivit.models import MaskedViT, ViT

B = 7
STEP = Classification(0.1), 3, 5


class TwoRanks(World):
    """Two ranks with the same images, so the sum is twice this rank's gradient."""

    size = 2

    def __init__(self):
        self.events = []

    def rows(self, count):
        return range(count)

    def all_reduce(self, array):
        array *= 2

    def start_all_reduce(self, array):
        initial = array.copy()
        self.events.append("begin")

        def wait():
            assert (array == initial).all(), "somebody added to what was on its way"
            array[...] = 2 * initial
            self.events.append("wait")

        return wait


def gradients(world, threads, images):
    rng = np.random.default_rng(0)
    model = tiny.randomize(ViT(tiny.VIT))
    batch = rng.standard_normal((images, 3, 8, 8)).astype(np.float32), rng.integers(4, size=images)
    with DataParallel(model, threads, micro_batch=2, world=world) as workers:
        if isinstance(world, TwoRanks):
            for replica in workers.replicas:
                first = replica.blocks[0]
                first.backward = recorded(first.backward, world.events)
        workers.loss_and_gradients(*batch, *STEP)
    return model.flat.grad


def recorded(backward, events):
    def call(*arguments):
        events.append("block 0")
        return backward(*arguments)

    return call


@pytest.mark.parametrize(("threads", "images"), [(1, B), (2, B), (3, B), (3, 2)])
def test_summing_in_pieces_equals_summing_whole_gradients(threads, images):
    found = gradients(TwoRanks(), threads, images)
    np.testing.assert_array_equal(found, 2 * gradients(World(), threads, images))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_last_block_is_sent_before_the_first_is_computed(threads):
    world = TwoRanks()
    gradients(world, threads, B)
    last = len(world.events) - 1 - world.events[::-1].index("block 0")
    assert world.events[:last].count("begin") == 1
    assert world.events.index("wait") > last


@pytest.mark.parametrize("model", [ViT(tiny.VIT), MaskedViT(tiny.VIT, outputs=5)], ids=["ViT", "M"])
def test_pieces_are_the_blocks_in_reverse_order_then_the_rest(model):
    found = pieces(model)
    flat = model.flat
    count = np.zeros(len(flat.grad), int)
    for piece in found:
        for stretch in piece:
            count[stretch] += 1
    assert (count <= 1).all()
    assert all((count[slice_] == 1).all() for slice_ in flat.slices.values())
    assert len(found) == tiny.VIT.depth + 1
    for block, piece in zip([1, 0], found[:-1], strict=True):
        (stretch,) = piece  # its matrices are contiguous
        inside = range(stretch.start, stretch.stop)
        names = [name for name, slice_ in flat.slices.items() if slice_.start in inside]
        assert len(names) == 4
        assert all(name.startswith(f"blocks.{block}.") for name in names)


def test_custom_layers_may_share_a_parameter_and_are_summed_at_the_end():
    class CustomLinear(Linear):
        pass

    model = ViT(tiny.VIT)
    model.head = CustomLinear(np.random.default_rng(0), tiny.VIT.dim, 4)
    assert len(pieces(model)) == 1
