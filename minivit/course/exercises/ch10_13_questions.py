"""Chapters 10 to 13: why, and what will happen."""

from minivit.course.exercise import question

question(
    "10.f", "b",
    a="the map says how much is taken from each token, not what: the output is P V, and V is "
      "made of the tokens of this image",
    b="the map holds the weights of a mean, and the values are what the mean is taken of. Two "
      "images have other values. A map alone does not say what a head hands on",
    c="the residual connection adds the token itself, after the head; the question is what the "
      "head adds",
    d="other queries and keys that give the same scores give the same map, and the values come "
      "by a matrix of their own. So this need not be, and would not answer the question",
)  # fmt: skip

question(
    "10.g", "c",
    a="a uniform map of the first layer still lets every token hear the mean of all values, but "
      "that mean is the same for all tokens: where the figure is, and what its corners are, is "
      "gone",
    b="with all scores 0 the rows are uniform and sum to 1; nothing overflows, nothing is NaN",
    c="with even weights the first layer hands every token the same mean. Where softmax is made "
      "uniform in the last layer alone, less is lost: by then the tokens have been mixed "
      "already",
    d="the last layer's even weights cost little, since its tokens hold what the first three "
      "have gathered; without the first layer's choice there is less to gather",
)  # fmt: skip

question(
    "11.f", "d",
    a="where the head looks does not depend on who asks, so it cannot be near to each of them",
    b="chance is the mean distance of all pairs, and it was computed right: a fixed place in "
      "the middle is nearer to most patches than a place at random",
    c="the softmax is as sharp as can be, and the distance is what it is: sharpness alone moves "
      "no place",
    d="the middle is nearer to all patches than a place drawn at random is, whoever asks. Hence "
      "the control of section 4: replace each row by the mean of all rows, and see what stays",
)  # fmt: skip

question(
    "11.g", "b",
    a="the first number is measured with 96 points in 48 directions. A hundred times as many "
      "points leave less to chance, so the share of the luckiest six falls",
    b="no direction is special, but 96 points are few: in some of 48 directions they are spread "
      "more by chance, and the components are sorted, the luckiest first. With many points all "
      "shares go towards 1/48, and six of them towards 12.5 %",
    c="the share would be 12.5 % only if every direction had exactly its part. The components "
      "choose the directions in which the few points happen to be spread",
    d="more points show more exactly that there is nothing to be found",
)  # fmt: skip

question(
    "12.e", "c",
    a="the baseline never sees the model",
    b="patches in the middle are in no way treated differently by a Vision Transformer",
    c="whoever draws or photographs puts the thing into the middle. A score that is high for a "
      "hill in the middle says something of the data set; a method must be better than that "
      "hill",
    d="a hill is smooth, but so is a hill in a corner, which would score nothing",
)  # fmt: skip

question(
    "12.f", "d",
    a="the figure is lighter than what surrounds it, so the lightest patch is hardly ever there "
      "by chance",
    b="it does better: see the number that the cell prints",
    c="a background in two hundred has a place that is lighter than its figure",
    d="the light patches are the figure, so a map without any model is highly plausible here. "
      "That the pointing game is won says nothing of what a model did; the shuffled model of "
      "section 5 won half of it for the same reason",
)  # fmt: skip

question(
    "13.e", "a",
    a="what helps to guess a patch's mean colour is the colour of its surroundings, and no "
      "class of the shapes shows in it. A pretext teaches what it needs, and that need not be "
      "what is wanted afterwards",
    b="both are measured on images that were not learned from",
    c="the encoder is trained by the pretext; only mask token and decoder are thrown away",
    d="the pretext's targets are made of the images themselves and are never wrong",
)  # fmt: skip

question(
    "13.f", "b",
    a="where more is hidden the nearest untouched patch is farther away, and farther patches "
      "are less alike",
    b="the backgrounds of the shapes are smooth, so that a patch two or three places off has "
      "the same colour nearly as often. For such images half hidden is an easy riddle; where "
      "neighbours tell less, as in photographs of much detail, it is harder",
    c="the rule never says anything at random; its patch is a patch of the same image",
    d="what is hidden is drawn at random, in the middle as often as at the edges",
)  # fmt: skip
