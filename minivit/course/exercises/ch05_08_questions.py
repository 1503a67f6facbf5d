"""Multiple-choice questions of chapters 05 to 08: predictions (p) and reasons (w)."""

from minivit.course.exercise import question

question(
    "05.p", "c",
    a="on average they prefer no token, but each row has a largest score, far above the next",
    b="that holds where the scores have a standard deviation of 2 or 3; here it is 32",
    c="scores with a standard deviation of 32 are several units apart, and each unit is a factor "
      "of 2.7: the highest takes nearly everything",
    d="weights are between 0 and 1, so -p·log p is never negative",
)  # fmt: skip

question(
    "05.w", "b",
    a="so do the filters of chapter 02, and after training they can be inspected",
    b="(qR)·(kR) = q·k for every rotation R, so nothing in training prefers one choice of axes "
      "over another; only the scores have a meaning",
    c="softmax acts on scores; the question is about what comes before it",
    d="so is the brightness of a patch, which nevertheless means something",
)  # fmt: skip

question(
    "06.p", "b",
    a="the query's bias adds b·k_s to the score of token s, a different number for every key",
    b="the key's bias adds q_t·b to the whole row t, and softmax is invariant to a constant added "
      "to a row",
    c="the value's bias is added to the output of every token, as the weights sum to one",
    d="it is used, but part of it does not change any weight",
)  # fmt: skip

question(
    "06.w", "a",
    a="D = C/H: with more heads each compares fewer numbers, down to a single one, and what it can "
      "look for becomes coarser (and the maps take twice the memory)",
    b="the heads are concatenated, H·D = C numbers",
    c="the maps alone take twice the memory, and a head of width one can hardly look for anything",
    d="the output projection lets every head write everywhere, however many there are",
)  # fmt: skip

question(
    "07.p", "c",
    a="it becomes only about ten times shorter: LayerNorm rescales every token in every block",
    b="LayerNorm before each branch controls their size, and without the residual stream nothing "
      "accumulates",
    c="attention averages, and after a few blocks of averaging all tokens are the same; then there "
      "is nothing to choose between, and queries and keys get no gradient",
    d="it is wrong from the beginning, before anything was learned",
)  # fmt: skip

question(
    "07.w", "a",
    a="its query affects only its own output, and after the last block nothing reads that; its key "
      "and value are used by the class token",
    b="the class token compares its query with this key, so the key gets a gradient",
    c="the class token's output contains this value, so the value gets a gradient",
    d="follow the path back from the class token: it passes through the keys and values of all "
      "tokens, but only through the query of token 0",
)  # fmt: skip

question(
    "08.p", "d",
    a="that is plain gradient descent, which zig-zags for this reason",
    b="only v contains squares, and its square root is taken",
    c="it divides by the typical size of the gradient, not by its square: the result is the same "
      "for both",
    d="g/√v with v = (1 - β)g² is the sign of g divided by √(1 - β), the same for every weight",
)  # fmt: skip

question(
    "08.w", "b",
    a="their mean becomes smaller there; that is what a minimum means",
    b="the noise of a batch's gradient is about 1/√B everywhere, and where the mean vanishes, only "
      "noise moves the weights",
    c="it is close to 1 after a few thousand steps and stays there; that requires no smaller "
      "learning rate",
    d="weight decay is multiplied by the learning rate, too, so it falls with it",
)  # fmt: skip
