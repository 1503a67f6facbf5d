"""Chapter 09: reasons, predictions, and three training runs with a fault."""

from minivit.course.exercise import question

question(
    "09.g", "b",
    a="no gradient came from a test image in any of the twenty runs",
    b="the best of twenty is partly the luckiest on these particular images. To select a model on "
      "a set of images is to learn from that set: select on the validation images, and use the "
      "test images once",
    c="each model has seen the training images as often as if it were the only one; the other "
      "nineteen do not affect it",
    d="that holds for the mean of the twenty, which is more precise than one accuracy and "
      "unbiased. Here the largest is reported, not the mean",
)  # fmt: skip

question(
    "09.h", "b",
    a="the images are the same, but the gradients are not: each step learns to predict one class "
      "and no longer to distinguish ten",
    b="each batch contains one class, and the fastest way to lower the loss is to predict that "
      "class for every image. What was learned from the first classes is overwritten by the last. "
      "This is why batches are drawn at random",
    c="the model did predict that class while the batches contained it; each later class has "
      "overwritten the one before",
    d="the model guesses before any training (and even then predicts the same class for all "
      "images); here it has learned something, just not what was intended",
)  # fmt: skip

_HEALTHY = "the training loss falls as it should, so images and labels match"

question(
    "09.i", "b",
    a="the training loss falls as it should; a learning rate that is too small would show there "
      "first",
    b="the training loss is normal, and the validation accuracy is poor from the first epoch, not "
      "late as with overfitting. The validation images are a third as bright as the training "
      "images: see the patient's val.images",
    c="then the validation accuracy would be too high, and it is far too low",
    d=_HEALTHY,
)  # fmt: skip

question(
    "09.j", "a",
    a="both losses fall together, smoothly, and are far from converged: only the step size is "
      "wrong. The schedule was evaluated at step 0 in every step",
    b="training and validation agree, so their images are preprocessed alike",
    c="validation is no better than training; and a leak does not slow training down",
    d="the validation loss falls with the training loss, so the model learns something that "
      "generalizes",
)  # fmt: skip

question(
    "09.k", "c",
    a="the training loss falls as it should; a learning rate that is too small would show there "
      "first",
    b="images that are preprocessed differently are classified worse, not better",
    c="nothing makes this training harder (no dropout, no label smoothing, no augmentation), and "
      "yet the validation accuracy is higher than the training accuracy: the model has seen these "
      "images. The test images show its true accuracy",
    d=_HEALTHY,
)  # fmt: skip
