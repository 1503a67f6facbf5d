"""Chapter 07, the capstone: attention, a block and a whole ViT backward, every tensor of it."""

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
    """A wrong answer: the tensors whose names end like this are changed, all else is right."""

    def wrong(dout, s, w):
        g = reference(dout, s, w)
        return {name: change(a) if name.endswith(end) else a for name, a in g.items()}

    return wrong


def _mistakes(reference):
    return (
        Mistake("the sign is the wrong way round", _changed(reference, "dprobs", np.negative)),
        Mistake("it is 2 times what it should be: a factor is missing or too many",
                _changed(reference, "dscores", lambda a: 2 * a)),
        Mistake("it is zero everywhere", _changed(reference, "dv", np.zeros_like)),
    )  # fmt: skip


add(
    Exercise(
        name="07.e",
        answer=attention_backward,
        inputs=draw_block,
        mistakes=_mistakes(attention_backward),
        grade=grade(attention_backward, draw_block),
    ),
    Exercise(
        name="07.f",
        answer=block_backward,
        inputs=draw_block,
        mistakes=_mistakes(block_backward),
        grade=grade(block_backward, draw_block),
    ),
    Exercise(
        name="07.g",
        answer=vit_backward,
        inputs=draw_vit,
        mistakes=_mistakes(vit_backward),
        grade=grade(vit_backward, draw_vit),
    ),
)
