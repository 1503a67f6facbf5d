"""Class sizes and metrics per class, as text."""

import numpy as np
import pytest

from minivit.commands.class_table import class_sizes, class_table
from minivit.engine.evaluation import Evaluation


def test_undefined_ratios_are_a_dash_and_wide_characters_keep_columns_aligned():
    confusion = np.array([[1500, 500, 0], [0, 0, 0], [0, 0, 0]])
    table = class_table(
        Evaluation(0.75, 1.0, confusion), ["a", "日本", "e\N{COMBINING ACUTE ACCENT}"]
    )
    assert table.splitlines() == [
        "class  images  accuracy (recall)  precision      F1",
        "a       2,000              75.0%     100.0%   85.7%  ███████████████",
        "日本        0                  –       0.0%    0.0%",
        "e\N{COMBINING ACUTE ACCENT}           0                  –          –       –",
    ]


def test_all_class_sizes_are_listed_or_three_of_many():
    names = ["cats", "dogs", "mice"]
    assert class_sizes(np.array([1200, 700, 601]), names, False) == (
        "images per class: cats 1,200; dogs 700; mice 601"
    )
    sizes = np.arange(11)[::-1] + 100
    assert class_sizes(sizes, [f"c{i}" for i in range(11)], False) == (
        "images per class: 11 classes; smallest c10 100; median c5 105; largest c0 110"
    )


@pytest.mark.parametrize(
    ("balance", "sizes", "advice"),
    [
        (False, [19, 10], "b 10"),
        (False, [20, 10], "b 10 (--balance draws each class equally often)"),
        (False, [20, 0], "b 0 (--balance draws each class equally often)"),
        (True, [20, 10], "b 10 (each class is drawn equally often)"),
    ],
)
def test_unbalanced_classes_lead_to_advice_on_balance(balance, sizes, advice):
    assert class_sizes(np.array(sizes), ["a", "b"], balance).endswith(advice)
