"""Multiple-choice questions of chapters 00 to 04: predictions (p) and reasons (w)."""

from minivit.course.exercise import question

question(
    "00.p", "c",
    a="266 needs more than the 8 bits of a uint8, and the result is a uint8 again",
    b="NumPy does not saturate at the largest number; np.clip would, on a type with room above 255",
    c="246 + 20 is 266, minus 256 is 10: uint8 wraps around to 0, and one of the brightest values "
      "has become one of the darkest",
    d="integer arrays wrap around without an error or a warning, which makes this a trap",
)  # fmt: skip

question(
    "00.w", "b",
    a="what counts is the difference between images relative to their spread, and both are halved",
    b="mean and standard deviation are halved with the images, so (x - μ)/σ is unchanged: the "
      "classifier sees the same images",
    c="the images of a class get closer to one another, but so do those of different classes",
    d="mean and standard deviation are computed from the training images, which are also half as "
      "bright",
)  # fmt: skip

question(
    "01.p", "a",
    a="patches 0 to 2 fill the first row of patches, so patch 3 begins at row 2, column 0; and "
      "both channels of a pixel come before the next pixel",
    b="that is the right patch, but its first channel alone: here all channels of a pixel come "
      "first",
    c="that is patch 2, the last of the first row: patches are counted from 0",
    d="that begins at column 3, as if patches were one pixel apart",
)  # fmt: skip

question(
    "01.w", "b",
    a="the inverse of a square matrix need not be its transpose: think of one with two ones in a "
      "column",
    b="backward is Mᵀ in every case, and MᵀM is the identity if each column of M has a single 1; "
      "where patches overlap there are several, and gradients add up",
    c="overlapping patches are linear, too, and backward is Mᵀ for both; the question is when "
      "that is an inverse",
    d="that holds for overlapping patches as well",
)  # fmt: skip

question(
    "02.p", "d",
    a="it is another image to our eyes, but every operation treats all tokens alike, wherever they "
      "are in the sequence",
    b="all patches are still there, and the model knows nothing else about them",
    c="no feature can depend on the edge between two patches, because the model does not know "
      "which patches are neighbors",
    d="attention sums over a set of tokens, and everything else acts on one token at a time, so "
      "the order of tokens does not matter",
)  # fmt: skip

question(
    "02.w", "c",
    a="the positions would get a gradient: a sum passes it on to both terms, wherever the sum is",
    b="tokens have the shape (B, T, C) at the end, too",
    c="attention happens inside the blocks: that is where positions must be known; what is added "
      "to the class token afterwards is the same for every image",
    d="what is added at the end is a constant: it says nothing about which content was where",
)  # fmt: skip

question(
    "03.p", "b",
    a="that is the forward difference: its error is the quadratic term, proportional to h",
    b="the quadratic terms cancel; what remains is the cubic term, proportional to h²",
    c="the smaller the step, the closer a smooth curve is to its tangent",
    d="the error grows only where the step is so small that rounding dominates",
)  # fmt: skip

question(
    "03.w", "d",
    a="numbers between 0 and 1 can sum to anything",
    b="a common factor does not make a sum zero",
    c="this holds everywhere, even far from any minimum",
    d="the sum of a row is how fast the loss changes when all its logits change by the same "
      "amount, and softmax is invariant to such a change",
)  # fmt: skip

question(
    "04.p", "a",
    a="mean and standard deviation are ten times as large, too, so x̂ is unchanged: LayerNorm is "
      "invariant to the scale of a token",
    b="the standard deviation that x is divided by grows as much as x",
    c="σ is ten times as large, but so is the numerator",
    d="γ multiplies x̂, and x̂ has not changed",
)  # fmt: skip

question(
    "04.w", "c",
    a="LayerNorm's backward has the factor 1/σ, and σ has doubled",
    b="y is the same, but its response to a small change of W is not: relative to numbers twice as "
      "large, the change counts only half as much",
    c="y does not change, and dx has the factor 1/σ, which is halved; so growing weights get "
      "smaller and smaller gradients",
    d="only its component along W is zero; rotating W still changes y",
)  # fmt: skip
