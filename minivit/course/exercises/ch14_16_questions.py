"""Chapters 14 to 16: reasons and predictions."""

from minivit.course.exercise import question

question(
    "14.f", "c",
    a="the error on the fitted images takes no longer to compute",
    b="neither way uses images of the test set",
    c="on the images that the weights are fitted to, the smallest λ always has the smallest error: "
      "it constrains them least. A left-out image shows whether that flexibility helps",
    d="λ does not make the weights equally large, and nothing here requires it",
)  # fmt: skip

question(
    "14.g", "c",
    a="the positions distinguish left from right here, and they were swapped",
    b="the model does not guess: compared with labels whose left and right are swapped, it is "
      "right far more often than one time in four",
    c="a figure on the left now has the positions of the right, and the model relies on them to "
      "the extent that it uses positions at all. Compared with labels whose left and right are "
      "swapped, it is nearly as good as before",
    d="top and bottom are distinguished about as well as before, but left and right are not "
      "guessed: they are swapped, so fewer than half of those images are classified correctly",
)  # fmt: skip

question(
    "15.f", "b",
    a="all three saw the same number of training images, 10,000",
    b="a convolution need not learn that neighbors belong together and that a corner is a corner "
      "everywhere: the Vision Transformer has to learn that from the images, and 5,000 of them, "
      "seen twice, are few. What is built in need not be learned; what is built in wrongly cannot "
      "be unlearned",
    c="the two have about the same number of parameters; and with 200 images the Vision "
      "Transformer is ahead of the ResNet",
    d="attention can attend to a neighbor as well as to anything else; nothing prevents that",
)  # fmt: skip

question(
    "15.g", "d",
    a="then the model could not know where anything is, but it does: see the table in section 3",
    b="a shift by one patch moves all patches, but the positions stay where they are",
    c="a shift by a whole patch is not small for a position embedding: every patch gets a "
      "different one",
    d="after a shift by a whole patch, the same patches get other positions; after half a patch, "
      "the patches themselves are cut differently, too. Only without positions does a shift by "
      "whole patches change nothing but the order of the tokens",
)  # fmt: skip

question(
    "16.f", "a",
    a="a large product is limited by arithmetic: memory traffic costs time only when there is "
      "nothing to compute. Reading and writing GELU's array once more costs little compared with "
      "the product; LayerNorm has hardly any arithmetic, and memory traffic takes all of its time",
    b="fusing GELU saves the same bytes per number, one write and one read",
    c="GELU is element-wise; any piece of the product's result will do",
    d="that is one launch, of a few microseconds, and the product takes far longer",
)  # fmt: skip

question(
    "16.g", "b",
    a="a sum stops growing when each addend is less than half the distance from the sum to the "
      "next bfloat16. In pairwise summation, both addends always have about the same size",
    b="every addition adds two numbers of about the same size, so neither is lost; and each number "
      "goes through 12 roundings instead of up to 4,095. This is how accurate sums are made fast: "
      "NumPy, too, sums pairwise",
    c="each of the twelve roundings is off by at most 0.2 %, upward as often as downward",
    d="bfloat16 reaches 3.4 · 10³⁸, as float32 does; it lacks digits, not range",
)  # fmt: skip
