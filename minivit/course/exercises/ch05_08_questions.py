"""Questions of chapters 05 to 08 whose answers are chosen: predictions (p) and reasons (w)."""

from minivit.course.exercise import question

question(
    "05.p", "c",
    a="they prefer nobody on average, but each row has a largest one, and it is far above the "
      "next",
    b="so it is where the spread of the scores is 2 or 3; here it is 32",
    c="scores of spread 32 lie several units apart, and each unit is a factor of 2.7: the highest "
      "takes nearly all",
    d="shares are between 0 and 1, so -p·log p is never negative",
)  # fmt: skip

question(
    "05.w", "b",
    a="so do the filters of chapter 02, and after training one can look at them",
    b="(qR)·(kR) = q·k for every rotation R, so nothing in training prefers one choice of axes to "
      "another; only the scores have a meaning",
    c="softmax acts on scores; the question comes before it",
    d="so is the brightness of a patch, which means something all the same",
)  # fmt: skip

question(
    "06.p", "b",
    a="the query's bias adds b·k_s to the score of token s, which is another number for every "
      "token that is asked",
    b="the key's bias adds q_t·b to the whole row t, and softmax does not see what is added to a "
      "whole row",
    c="the value's bias is added to everything that a token takes home, as the shares add up to "
      "one",
    d="used it is, but a part of it changes no share",
)  # fmt: skip

question(
    "06.w", "a",
    a="D = C/H: with more heads each compares by fewer numbers, down to a single one, and what it "
      "can look for becomes coarser (and the maps take twice the memory)",
    b="the heads are put side by side again, H·D = C numbers",
    c="the maps alone take twice the memory, and a head of one number can hardly look for "
      "anything",
    d="the output projection lets every head write everywhere, however many there are",
)  # fmt: skip

question(
    "07.p", "c",
    a="it becomes some ten times shorter and no more: LayerNorm sets every token to one size in "
      "every block",
    b="LayerNorm in front of each branch sees to their size, and without the line nothing adds up",
    c="attention takes means, and after a few blocks of means all tokens are the same; then there "
      "is nothing to choose between, and queries and keys get no gradient",
    d="it is wrong from the beginning, before anything was learned",
)  # fmt: skip

question(
    "07.w", "a",
    a="its query decides only what it takes home itself, and after the last block nobody reads "
      "that; its key and value are asked for by the class token",
    b="the class token compares its query with this key, so the key gets a gradient",
    c="the class token takes a share of this value, so the value gets a gradient",
    d="follow the way from the class token back: it passes the keys and values of all tokens, but "
      "the query of token 0 alone",
)  # fmt: skip

question(
    "08.p", "d",
    a="that is plain gradient descent, which zig-zags for this reason",
    b="the squares are in v alone, and their root is taken",
    c="it divides by the usual size and not by its square: what is left is the same for both",
    d="g/√v with v = (1 - β)g² is the sign of g divided by √(1 - β), the same for every weight",
)  # fmt: skip

question(
    "08.w", "b",
    a="their mean becomes smaller there; that is what lowest means",
    b="a batch's gradient is off by about 1/√B whatever the place, and where the mean is gone, "
      "noise is all that moves the weights",
    c="it is close to 1 after some thousand steps and stays there; that asks for no smaller rate",
    d="decay is multiplied by the learning rate, too, so it falls with it",
)  # fmt: skip
