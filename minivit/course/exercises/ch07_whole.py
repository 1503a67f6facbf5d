"""Chapter 07, the capstone: the backward pass of attention, of a block and of a whole ViT, tensor
by tensor.
"""

import numpy as np

from minivit.course.exercise import Exercise, Mistake, add
from minivit.course.whole import (
    attention_backward,
    block_backward,
    draw_block,
    draw_vit,
    grade,
    vit_backward,
)


def _changed(reference, end, change):
    """A wrong answer: tensors whose names end with `end` are changed; everything else is right."""

    def wrong(dout, s, w):
        g = reference(dout, s, w)
        return {name: change(a) if name.endswith(end) else a for name, a in g.items()}

    return wrong


def _mistakes(reference):
    return (
        Mistake("the sign is reversed", _changed(reference, "dprobs", np.negative)),
        Mistake("it is 2 times what it should be: a factor is missing or superfluous",
                _changed(reference, "dscores", lambda a: 2 * a)),
        Mistake("it is zero everywhere", _changed(reference, "dv", np.zeros_like)),
    )  # fmt: skip


add(
    *(
        Exercise(
            name=name,
            answer=right,
            inputs=draw,
            mistakes=_mistakes(right),
            grade=grade(right, draw),
        )
        for name, right, draw in (
            ("07.e", attention_backward, draw_block),
            ("07.f", block_backward, draw_block),
            ("07.g", vit_backward, draw_vit),
        )
    )
)
