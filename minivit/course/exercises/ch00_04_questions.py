"""Questions of chapters 00 to 04 whose answers are chosen: predictions (p) and reasons (w)."""

from minivit.course.exercise import question

question(
    "00.p", "c",
    a="266 needs more than the 8 bits of a uint8, and the result is a uint8 again",
    b="NumPy does not stop at the largest number; np.clip would do that, on numbers that have "
      "room above 255",
    c="246 + 20 is 266, minus 256 is 10: uint8 goes on counting at 0, and the brightest number "
      "has become one of the darkest",
    d="arrays of whole numbers wrap around without an error or a warning, which is what makes it "
      "a trap",
)  # fmt: skip

question(
    "00.w", "b",
    a="what counts is the difference between images beside their spread, and both are halved",
    b="mean and standard deviation are halved with the images, so (x - μ)/σ is what it was: the "
      "images that the classifier sees are the same",
    c="they are nearer to one another, but those of different classes are so, too",
    d="they are computed from the training images, which are half as bright, too",
)  # fmt: skip

question(
    "01.p", "a",
    a="patches 0 to 2 fill the first row of patches, so patch 3 begins at row 2, column 0; and "
      "both channels of a pixel come before the next pixel",
    b="that is the right patch, but its first channel alone: here all channels of a pixel come "
      "first",
    c="that is patch 2, the last of the first row: they are counted from 0",
    d="that begins at column 3, as if patches were one pixel apart",
)  # fmt: skip

question(
    "01.w", "b",
    a="a square matrix need not have its transpose for an inverse: think of one with two ones in "
      "a column",
    b="backward is Mᵀ for every move, and with a single 1 in each column of M is MᵀM the "
      "identity; where patches overlap there are several, and gradients add up",
    c="overlapping patches are linear, too, and backward is Mᵀ for both; the question is when "
      "that is an inverse",
    d="that holds for overlapping patches as well",
)  # fmt: skip

question(
    "02.p", "d",
    a="to our eyes it is; but every operation treats its tokens alike, wherever in the row they "
      "are",
    b="all patches are still there, and nothing else is known of them",
    c="no feature can look at an edge between two patches, for which of them are neighbours is "
      "not known",
    d="attention adds up over a set of tokens, and all else acts on one token at a time, so their "
      "order has no part in what is computed",
)  # fmt: skip

question(
    "02.w", "c",
    a="they would: a sum hands the gradient on to both of its terms, wherever it is",
    b="tokens have the shape (B, T, C) at the end as at the beginning",
    c="attention happens inside the blocks: where a patch is must be known there, and what is "
      "added to the class token afterwards is the same for every image",
    d="what is added at the end is a constant: it says nothing about which content was where",
)  # fmt: skip

question(
    "03.p", "b",
    a="that is the forward difference: its error is the parabola, in proportion to h",
    b="the parabola cancels, and what stays is the cubic, in proportion to h²",
    c="the smaller the step, the more a smooth curve is like its tangent",
    d="it grows only where the step is so small that rounding is all that is left",
)  # fmt: skip

question(
    "03.w", "d",
    a="numbers between 0 and 1 can add up to anything",
    b="a common factor does not make a sum zero",
    c="it holds everywhere, far from any minimum",
    d="the sum of a row is how fast the loss changes when all its logits move together, and "
      "softmax does not see such a move",
)  # fmt: skip

question(
    "04.p", "a",
    a="mean and standard deviation are ten times as large, too, and x̂ is what it was: LayerNorm "
      "does not see the size of a token",
    b="what is divided by grows as much as what is divided",
    c="it is divided by a σ ten times as large, but the numerator is ten times as large, too",
    d="γ multiplies x̂, and x̂ has not changed",
)  # fmt: skip

question(
    "04.w", "c",
    a="in front of LayerNorm's backward is 1/σ, and σ has doubled",
    b="y is the same, but not how y answers to a small change of W: beside numbers twice as large "
      "it counts half",
    c="y does not change, and dx has the factor 1/σ, which is halved; so weights that grow get "
      "smaller and smaller gradients",
    d="only its part along W is zero; to turn W still changes y",
)  # fmt: skip
