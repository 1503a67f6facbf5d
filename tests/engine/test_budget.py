"""How many epochs fit into a time budget."""

import itertools

import numpy as np
import pytest
import tiny

from minivit import UserError
from minivit.engine import budget
from minivit.engine.budget import epochs_within, in_seconds, seconds_per_epoch


class Clock:
    """Advances by a second each time it is read."""

    def __init__(self):
        self.ticks = itertools.count()

    def __call__(self) -> float:
        return float(next(self.ticks))


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(budget, "MEASURED_SECONDS", 3.0)


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("sizes", [(), (4, 8)])
def test_an_epoch_takes_its_steps_and_its_validation(sizes):
    config = tiny.config(epochs=1, eval_every=2, train_sizes=sizes)
    found = seconds_per_epoch(config, tiny.dataset(), Clock())
    # the clock starts at 0; steps end at 1, 2, 3; it is read again at 4. Validation takes a second
    assert found == pytest.approx(4 * 4 / 3 + 1 / 2)


@pytest.mark.usefixtures("_short")
def test_each_stage_is_timed_at_its_image_size(monkeypatch):
    seen = []
    forward = tiny.ViT.forward

    def watched(model, images, *args):
        seen.append(images.shape[-1])
        return forward(model, images, *args)

    monkeypatch.setattr(tiny.ViT, "forward", watched)
    seconds_per_epoch(tiny.config(train_sizes=(4, 8)), tiny.dataset(), Clock())
    assert np.unique(seen, return_counts=True)[1].tolist() == [5, 5]  # two to warm up, three timed


def test_timing_does_not_change_the_run(tmp_path):
    one, other = tiny.trainer(tmp_path / "1"), tiny.trainer(tmp_path / "2")
    seconds_per_epoch(one.config, one.dataset, Clock())
    one.fit(), other.fit()
    np.testing.assert_array_equal(one.model.flat.data, other.model.flat.data)


@pytest.mark.parametrize(
    ("budget_seconds", "epochs"), [(0.1, 1), (11.9, 5), (12, 6), (1e9, 100_000)]
)
def test_epochs_that_fit_are_at_least_one_and_at_most_what_a_config_allows(budget_seconds, epochs):
    assert epochs_within(budget_seconds, 2.0) == epochs
    tiny.config(epochs=epochs)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("8h", 28800)],
)
def test_times_are_parsed_with_their_units(text, seconds):
    assert in_seconds(text) == seconds


@pytest.mark.parametrize("text", ["30", "", "m", "-5m", "30 m", "1m1h", "0m", "nanm", "9999999h"])
def test_any_other_text_is_refused_in_one_line(text):
    with pytest.raises(UserError, match="expected a time such as 90s, 30m or 1h30m") as raised:
        in_seconds(text)
    assert "\n" not in str(raised.value)
