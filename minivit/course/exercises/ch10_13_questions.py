"""Chapters 10 to 13: reasons and predictions."""

from minivit.course.exercise import question

question(
    "10.f", "b",
    a="the map says how much is taken from each token, not what: the output is P V, and V is "
      "computed from the tokens of this image",
    b="the map contains the weights of a mean, and the values are what is averaged. Two images "
      "have different values. A map alone does not show what a head outputs",
    c="the residual connection adds the token itself, after the head; the question is what the "
      "head adds",
    d="different queries and keys with the same scores give the same map, and the values come from "
      "another matrix. So the queries need not differ, and that would not answer the question",
)  # fmt: skip

question(
    "10.g", "c",
    a="with a uniform map in the first layer every token still receives the mean of all values, "
      "but that mean is the same for all tokens: where the figure is, and what its corners look "
      "like, is lost",
    b="with all scores 0 the rows are uniform and sum to 1; nothing overflows, nothing is NaN",
    c="with uniform weights the first layer gives every token the same mean. If only the last "
      "layer's softmax is uniform, less is lost: by then the tokens have already been mixed",
    d="uniform weights in the last layer cost little, since its tokens contain what the first "
      "three layers have gathered; without the first layer's selection there is less to gather",
)  # fmt: skip

question(
    "11.f", "d",
    a="what the head attends to does not depend on the query, so it cannot be near each of them",
    b="chance is the mean distance of all pairs, and it was computed correctly: a fixed place in "
      "the middle is nearer to most patches than a random place",
    c="the softmax is as sharp as possible, and the distance stays the same: sharpness alone does "
      "not change where the head looks",
    d="for any query, the middle is nearer on average than a random place. Hence the control of "
      "section 4: replace each row by the mean of all rows, and see what remains",
)  # fmt: skip

question(
    "11.g", "b",
    a="the first fraction is measured with 96 points in 48 directions. With a hundred times as "
      "many points there is less chance variation, so the share of the six largest falls",
    b="no direction is special, but 96 points are few: in some of the 48 directions their variance "
      "is larger by chance, and the components are sorted, largest first. With many points all "
      "fractions approach 1/48, and the sum of six of them approaches 12.5 %",
    c="the share would be 12.5 % only if all directions had exactly the same variance. The "
      "components are the directions in which the few points happen to vary most",
    d="more points show more precisely that there is no structure",
)  # fmt: skip

question(
    "12.e", "c",
    a="the baseline never sees the model",
    b="a Vision Transformer does not treat patches in the middle differently",
    c="people who draw or photograph put the object in the middle. A high score for a bump in the "
      "middle says something about the data set; a method must beat that bump",
    d="a bump is smooth, but so is a bump in a corner, which would score nothing",
)  # fmt: skip

question(
    "12.f", "d",
    a="the figure is lighter than its surroundings, so the lightest patch is on it by design, not "
      "by chance",
    b="brightness does better: see the number that the cell prints",
    c="one background in two hundred has a place that is lighter than the figure",
    d="the light patches are the figure, so a map made without any model looks highly plausible "
      "here. Winning the pointing game says nothing about what a model did; the shuffled model of "
      "section 5 wins it in about half of the images for the same reason",
)  # fmt: skip

question(
    "13.e", "a",
    a="what helps to predict a patch's mean color is the color of its surroundings, which says "
      "nothing about the class of a shape. A pretext task teaches what it needs, and that may not "
      "be what is wanted later",
    b="both are measured on images that the model was not trained on",
    c="the pretext task trains the encoder; only the mask token and the decoder are discarded",
    d="the targets of the pretext task are computed from the images themselves and are never wrong",
)  # fmt: skip

question(
    "13.f", "b",
    a="when more is hidden, the nearest untouched patch is farther away, and distant patches are "
      "less alike",
    b="the backgrounds of the shapes are smooth, so a patch two or three places away has the same "
      "color nearly as often. With such images, hiding half of the patches makes an easy task; "
      "where neighbors say less about a patch, as in detailed photographs, the task is harder",
    c="the rule never guesses at random; it uses a patch of the same image",
    d="the hidden patches are drawn at random, in the middle as often as at the edges",
)  # fmt: skip
