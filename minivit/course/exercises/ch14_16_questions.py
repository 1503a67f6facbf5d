"""Chapters 14 to 16: why, and what will happen."""

from minivit.course.exercise import question

question(
    "14.f", "c",
    a="the sum of squares is as quickly computed with all images as with all but one",
    b="no image of the test set takes part in either",
    c="on the images that it was fitted to, the smallest λ always has the smallest error: it "
      "may bend as it likes. An image that was left out tells whether the bending was of use",
    d="λ does not make the weights equally large, and nothing here asks that",
)  # fmt: skip

question(
    "14.g", "c",
    a="the positions are what tells left from right here, and they were exchanged",
    b="it does not guess: beside labels whose left and right are exchanged it is right far more "
      "often than one in four",
    c="a figure on the left now comes with the positions of the right, and the model believes "
      "them, as far as it uses positions at all. Beside labels with left and right exchanged it "
      "is nearly as good as before",
    d="top and bottom are told about as well as before, but left and right are not guessed: "
      "they are exchanged, so fewer than half of those images are right",
)  # fmt: skip

question(
    "15.f", "b",
    a="all three were trained with the same number of images seen, 10,000",
    b="a convolution need not learn that neighbours belong together and that a corner is a "
      "corner everywhere: the Vision Transformer has to find that in the images, and 5,000 of "
      "them, seen twice, are few. What is assumed need not be learned; what is assumed wrongly "
      "cannot be unlearned",
    c="the numbers of parameters are about the same; and with 200 images it is the Vision "
      "Transformer that is ahead of the ResNet",
    d="attention may look at a neighbour as well as at anything else; nothing in it forbids "
      "that",
)  # fmt: skip

question(
    "15.g", "d",
    a="then it could not tell the model where anything is, and it can: section 3's table",
    b="a shift of the image by one patch moves all patches, but no position",
    c="a shift by a whole patch is not small for a position embedding: each patch gets another "
      "one",
    d="after a shift by a whole patch the same patches meet other positions; by half a patch "
      "the patches themselves are cut otherwise, too. Only without positions, and by whole "
      "patches, nothing changes but the order",
)  # fmt: skip

question(
    "16.f", "a",
    a="a large product is limited by arithmetic: its bytes are waiting time only where there is "
      "nothing to compute. Reading and writing GELU's array once more costs time beside it, but "
      "little of the whole; LayerNorm has hardly any arithmetic, and bytes are all of its time",
    b="it saves as many bytes for each number, one writing and one reading",
    c="GELU is computed number by number; any piece of the product's result will do",
    d="that is one launch, of some microseconds, beside a product that takes far longer",
)  # fmt: skip

question(
    "16.g", "b",
    a="a sum stops where what is added is less than half a step of the sum. In pairs, both are "
      "always about the same size",
    b="every sum is of two numbers of about the same size, so neither is lost; and each number "
      "goes through 12 roundings instead of up to 4,095. This is how sums are made where they "
      "must be fast and exact: in pairs, by NumPy, too",
    c="each of the twelve rounds is off by at most 0.2 %, as often up as down",
    d="bfloat16 reaches 3.4 · 10³⁸, as float32 does; it lacks digits, not range",
)  # fmt: skip
