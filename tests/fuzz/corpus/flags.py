"""Command lines that were once taken, or ended in a traceback."""

ENTRIES: dict[str, list[str]] = {
    "a warm-up without end": ["train", "--warmup", "inf"],
    "a width without end": ["train", "--mlp-ratio", "inf"],
    "a crop larger than the image": ["train", "--crop", "65536"],
    "operations without number": ["train", "--rand-augment", "100000000"],
    "fewer shots than none": ["finetune", "--from", "RUN", "--few-shot", "-1"],
    "more threads than any machine has": ["train", "--threads", "100000"],
    "a depth that no machine computes": ["train", "--depth", "65536"],
    "a model of no size": ["train", "--model", "B/0"],
    "digits without number": ["train", "--epochs", "9" * 5_000],
}
