"""Multiple-choice questions of chapters 05 to 08: predictions (p) and reasons (w)."""

from minivit.course.exercise import question

question(
    "05.p", "c",
    a="on average the scores prefer no token, but each row has a largest score, far above the next",
    b="that holds where the scores have a standard deviation of 2 or 3; here it is 32",
    c="scores with a standard deviation of 32 are several units apart, and each unit is a factor "
      "of 2.7: the highest takes nearly everything",
    d="weights are between 0 and 1, so no term -p·log p of the entropy is negative",
)  # fmt: skip

question(
    "05.w", "b",
    a="the filters of chapter 02 also begin as random numbers, and after training they can be "
      "interpreted",
    b="(qR)·(kR) = q·k for every rotation R, so nothing in training prefers one choice of axes "
      "over another; only the scores have meaning",
    c="softmax acts on scores; the question is about what comes before it",
    d="the brightness of a patch also differs from image to image, and yet it means something",
)  # fmt: skip

question(
    "06.p", "b",
    a="the query's bias adds b·k_s to the score of token s, a different number for every key",
    b="the key's bias adds q_t·b to the whole row t, and softmax is invariant to a constant added "
      "to a row",
    c="the value's bias is added to the output of every token, as the weights sum to one",
    d="all three are used, but one of them changes no attention weight",
)  # fmt: skip

question(
    "06.w", "a",
    a="D = C/H: with more heads, each compares fewer numbers, down to a single one, and what it "
      "can look for becomes coarser (and the maps take twice the memory)",
    b="the heads are concatenated, H·D = C numbers",
    c="the maps alone take twice the memory, and a head of width one can hardly look for anything",
    d="the output projection lets every head write everywhere, however many there are",
)  # fmt: skip

question(
    "07.p", "c",
    a="the gradient becomes only about ten times shorter: LayerNorm rescales every token in every "
      "block",
    b="LayerNorm before each branch controls the tokens' size, and without the residual stream "
      "nothing accumulates",
    c="attention averages, and after a few blocks of averaging all tokens are the same; then there "
      "is nothing to choose between, and queries and keys get no gradient",
    d="something is wrong from the beginning, before anything has been learned",
)  # fmt: skip

question(
    "07.w", "a",
    a="a token's query affects only its own output, and after the last block nothing reads a patch "
      "token's output; its key and value are used by the class token",
    b="the class token compares its query with this key, so the key gets a gradient",
    c="the class token's output contains this value, so the value gets a gradient",
    d="follow the path back from the class token: it passes through the keys and values of all "
      "tokens, but only through the query of token 0",
)  # fmt: skip

question(
    "08.p", "d",
    a="that is plain gradient descent, which zigzags for this reason",
    b="only v contains squares, and its square root is taken",
    c="RMSprop divides by the typical size of the gradient, not by its square: the result is the "
      "same for both",
    d="g/√v with v = (1 - β)g² is the sign of g divided by √(1 - β), the same for every weight",
)  # fmt: skip

question(
    "08.w", "b",
    a="the mean of the gradients becomes smaller there; that is what a minimum means",
    b="the noise of a batch's gradient is proportional to 1/√B everywhere, and where the mean "
      "vanishes, only noise moves the weights",
    c="the bias correction is close to 1 after a few thousand steps and stays there, which "
      "requires no smaller learning rate",
    d="weight decay is multiplied by the learning rate, so the two fall together",
)  # fmt: skip
