"""Command lines that once caused a failure, or might: by name, the arguments of `minivit`."""

ENTRIES = {
    "a warm-up without end": ["train", "--warmup", "inf"],
    "a width without end": ["train", "--mlp-ratio", "inf"],
    "a crop larger than the image": ["train", "--crop", "65536"],
    "operations without number": ["train", "--rand-augment", "100000000"],
    "fewer shots than none": ["finetune", "--from", "run", "--few-shot", "-1"],
    "more threads than any machine has": ["train", "--threads", "100000"],
    "a depth that no machine computes": ["train", "--depth", "65536"],
    "a model of no size": ["train", "--model", "B/0"],
    "digits without number": ["train", "--epochs", "9" * 5_000],
    "a recipe without its name": ["train", "--preset"],
    "a size without its name": ["pretrain", "--lr", "1", "--model"],
    "nothing to begin from": ["finetune", "--from"],
    "a completion for a shell that there is none of": ["train", "--tyro-print-completion", "x"],
    "a completion in place of a file": [
        "evaluate", "--tyro-write-completion", "bash", "run/config.json"
    ],
    "the same with underscores": ["predict", "--tyro_write_completion", "zsh", "image.png"],
    "a terminal's commands as a flag": ["models", "--\x1b[2J"],
    "a terminal's commands as a choice": ["study", "\x1b[2J", "--dataset", "shapes"],
    "a terminal's commands as a class": ["trace", "run", "image.png", "--label", "\x1b[2J"],
    "a terminal's commands as a step": ["trace", "run", "image.png", "--only", "\x1b[2J"],
    "a terminal's commands as a run": ["evaluate", "\x1b[2J"],
    "a terminal's commands as a start": ["finetune", "--from", "\x1b[2J", "--dataset", "shapes"],
    "two lines": ["gradcheck", "--only", "a\nb"],
    "a way of 5,000 characters": ["evaluate", "x/" * 2_500],
    "a name of 10,000 characters": ["predict", "x" * 10_000, "image.png"],
    "a graph without a name": ["export", "run", "", "--to", "onnx"],
    "a page without a name": ["attention", "run", "--html", ""],
    "weights over those of the run": [
        "export", "run", "run/checkpoints/best.safetensors", "--to", "timm"
    ],
    "a folder over that of the run": ["export", "run", "run", "--to", "huggingface"],
    "a page over an image": ["attention", "run", "--html", "image.png"],
    "a live page over an image": ["live", "run", "--html", "image.png"],
    "half a surrogate": ["export", "\ud800", "new.onnx", "--to", "onnx"],
    "a named pipe for weights": ["trace", "fifo", "image.png"],
    "a named pipe for settings": ["train", "--config", "fifo", "--dry-run"],
}  # fmt: skip
"""That are refused."""

ACCEPTED = {
    "a head of another size": ["finetune", "--from", "run", "--representation-size", "4"],
    "None for each name": [
        "train", "--preset", "None", "--config", "None", "--model=None", "--dry-run"
    ],
    "a flag taken back": ["train", "--quick", "--no-quick", "--dry-run"],
    "no switch at all": ["models"],
}  # fmt: skip
