"""Chapter 09: why, what will happen, and three trainings in which something is wrong."""

from minivit.course.exercise import question

question(
    "09.g", "b",
    a="no gradient came from a test image in any of the twenty trainings",
    b="the best of twenty is in part the luckiest on these very images. Whoever chooses by a "
      "set has learned from it, so validation images are chosen by, and test images are asked "
      "once",
    c="each model has seen the training images as often as it would have alone; that there are "
      "nineteen others changes nothing for it",
    d="that holds for the mean of the twenty, which is more exact than one accuracy and not too "
      "high. Here the largest is reported, and no mean",
)  # fmt: skip

question(
    "09.h", "b",
    a="the images are the same, but not the gradients: that of a step shows the way to say one "
      "class, and no longer the way to tell ten apart",
    b="a step's batch shows one class, and the fastest way down is to say that class, whatever "
      "the image. What the first classes taught is overwritten by the last. This is why batches "
      "are drawn at random",
    c="it did say so, as long as the steps showed it; each class after it has overwritten the "
      "one before",
    d="at random it answers before it was trained with anything at all (and even then the same "
      "for all images); it has learned something here, only not what was meant",
)  # fmt: skip

_HEALTHY = "the training loss falls as it should, so images and labels belong together"

question(
    "09.i", "b",
    a="the training loss falls as it should; a rate that is too small is seen there first",
    b="the training is as good as any, and the validation is poor from the first epoch on, not "
      "late as with overfitting. These images are a third as bright as those that the model "
      "learns from: look at the patient's val.images",
    c="then the validation would be too good, and it is far too poor",
    d=_HEALTHY,
)  # fmt: skip

question(
    "09.j", "a",
    a="both losses fall together, smoothly, and are nowhere near their end: nothing is wrong "
      "but the length of the steps. The schedule was asked for step 0 at every step",
    b="training and validation agree, so their images are prepared alike",
    c="the validation is no better than the training; and a leak does not slow the training "
      "down",
    d="the validation loss falls with the training loss, so there is something to be found, and "
      "it holds for other images",
)  # fmt: skip

question(
    "09.k", "c",
    a="the training loss falls as it should; a rate that is too small is seen there first",
    b="images that are prepared otherwise are classified worse, not better",
    c="nothing is made harder in this training (no dropout, no label smoothing, no "
      "augmentation), and yet the validation is better than it: the model has seen these "
      "images. The honest test images say how much of it is true",
    d=_HEALTHY,
)  # fmt: skip
