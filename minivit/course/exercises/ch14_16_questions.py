"""Chapters 14 to 16: reasons and predictions."""

from minivit.course.exercise import question

question(
    "14.f", "c",
    a="the sum of squares is computed as fast with all images as with all but one",
    b="neither uses images of the test set",
    c="on the images that it was fitted to, the smallest λ always has the smallest error: it is "
      "the least constrained. A left-out image shows whether that flexibility helps",
    d="λ does not make the weights equally large, and nothing here requires it",
)  # fmt: skip

question(
    "14.g", "c",
    a="the positions distinguish left from right here, and they were swapped",
    b="it does not guess: compared with labels whose left and right are swapped, it is right far "
      "more often than one time in four",
    c="a figure on the left now comes with the positions of the right, and the model relies on "
      "them, as far as it uses positions at all. Compared with labels whose left and right are "
      "swapped it is nearly as good as before",
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
    c="the numbers of parameters are about the same; and with 200 images the Vision Transformer is "
      "ahead of the ResNet",
    d="attention can attend to a neighbor as well as to anything else; nothing prevents that",
)  # fmt: skip

question(
    "15.g", "d",
    a="then it could not tell the model where anything is, but it does: see the table in section 3",
    b="shifting the image by one patch moves all patches, but no position",
    c="a shift by a whole patch is not small for a position embedding: every patch gets a "
      "different one",
    d="after a shift by a whole patch, the same patches get other positions; after half a patch, "
      "the patches themselves are cut differently, too. Only without positions and by whole "
      "patches does nothing change but the order",
)  # fmt: skip

question(
    "16.f", "a",
    a="a large product is limited by arithmetic: memory traffic costs time only when there is "
      "nothing to compute. Reading and writing GELU's array once more costs little compared with "
      "the product; LayerNorm has hardly any arithmetic, and memory traffic is all of its time",
    b="it saves the same bytes per number, one write and one read",
    c="GELU is element-wise; any piece of the product's result will do",
    d="that is one launch, of a few microseconds, and the product takes far longer",
)  # fmt: skip

question(
    "16.g", "b",
    a="a sum stops growing when each addend is less than half its spacing. In pairwise summation, "
      "both addends always have about the same size",
    b="every addition has two numbers of about the same size, so neither is lost; and each number "
      "goes through 12 roundings instead of up to 4,095. This is how accurate sums are made fast: "
      "NumPy, too, sums pairwise",
    c="each of the twelve rounds is off by at most 0.2 %, as often up as down",
    d="bfloat16 reaches 3.4 · 10³⁸, as float32 does; it lacks digits, not range",
)  # fmt: skip
