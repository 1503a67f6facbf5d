"""How each printed command line is made small enough for a test, and what replaces its
placeholders."""

import re
from collections.abc import Iterable

from printed import Line

TRAINING = {"--epochs": "1", "--train-images": "40", "--batch-size": "20", "--threads": "1"}
BENCHMARK = {"--only": "minivit", "--rounds": "1", "--steps": "1", "--threads": "1", "--batch": "1"}
SMALL: dict[str, dict[str, str]] = {
    "minivit": {},
    "minivit train": TRAINING,
    "minivit pretrain": TRAINING,
    "minivit finetune": TRAINING,
    "minivit study": {"--quick": "", "--seeds": "", "--images": ""},
    "minivit evaluate": {},
    "minivit predict": {},
    "minivit attention": {"--test": "1", "--count": "2", "--methods": "rollout", "--threads": "1"},
    "minivit live": {"--test": "1"},
    "minivit trace": {},
    "minivit models": {},
    "minivit export": {},
    "minivit gradcheck": {"--only": "layernorm", "--elements": "2"},
    "minivit doctor": {},
    "benchmarks.train_step": {**BENCHMARK, "--depth": "1", "--dim": "24"},
    "benchmarks.inference": {**BENCHMARK, "--depth": "1", "--dim": "24"},
    "benchmarks.epoch": {"--images": "60", "--rounds": "1", "--epochs": "1", "--batch": "20"},
    "benchmarks.convolution": {"--batch": "1", "--rounds": "1"},
    "benchmarks.steps": {"--batch": "1", "--rounds": "1", "--threads": "1"},
}
"""What each command gets in place of a flag's printed value; "": the flag goes, or is a switch."""

OVERRIDES = {
    "--few-shot": "1 2",
    "--budget": "1s",
    "--device": "cpu",
    "--precision": "fp32",
    "--preset": "cifar10",
    "--image-size": "16",
    "--log": "none",
    "--isa": "native",
}
"""The same, only where the line has the flag: fewer and smaller images, a CPU, not a GPU, no
package of an extra, and whatever instructions there are."""

REQUIRED = {
    "minivit finetune": "--from RUN",
    "minivit study": "pooling --dataset shapes",
    "minivit evaluate": "RUN",
    "minivit predict": "RUN IMAGE",
    "minivit attention": "RUN",
    "minivit live": "RUN",
    "minivit trace": "RUN IMAGE",
    "minivit export": "RUN out.safetensors --to timm",
    "--resume": "RUN",
}
"""What a line that only names the command, or the flag, leaves out."""

PLACEHOLDERS = {
    r"(notebooks/)?runs/.+": "RUN",
    r"dinov2(\.safetensors)?": "RUN",
    r".+\.jpg|\[?IMAGE…?": "IMAGE",
    r"…\]|FLAGS…": "",
    r"~/data": "data",
    r"FOLDER": "IMAGE",
    r"photos": "PHOTOS",
    r"tour\.json": "TOUR",
    r"FORMAT": "timm",
    r"FILE|vit(\.safetensors)?": "out.safetensors",
    r"vit\.onnx": "out.onnx",
    r"COMMAND": "train",
    r"NAME": "pooling --dataset shapes",
    r"…": "colours",
}
"""What stands for something, and for what here; those in capitals become the fixture's."""


def split(line: Line) -> tuple[str, list[str]]:
    """("minivit train", its flags): the entry of SMALL, however the line invokes it."""
    words = line.words
    if words[:2] == ["python", "-m"]:
        module, flags = words[2], words[3:]
        return (module if module.startswith("benchmarks") else module.replace(".", " ")), flags
    if words[0] != "minivit":
        return line.text, []
    if len(words) == 1:
        return "minivit", []
    name = re.sub("^COMMAND$", PLACEHOLDERS["COMMAND"], words[1])
    return f"minivit {name}", words[2:]


def complete(name: str, flags: list[str]) -> list[str]:
    """The flags with placeholders filled in, and with the required arguments that a mere command
    name omits."""
    for pattern, replacement in PLACEHOLDERS.items():
        flags = [re.sub(f"^(?:{pattern})$", replacement, word) for word in flags]
    flags = " ".join(flags).split()
    if flags[-1:] == ["--resume"]:
        return [*flags, REQUIRED["--resume"]]
    if not flags and name in REQUIRED:
        return REQUIRED[name].split()
    return flags


def alternatives(flags: list[str]) -> list[list[str]]:
    """a|b --dataset c|d: each of the four."""
    found: list[list[str]] = [[]]
    for word in flags:
        found = [[*one, choice] for one in found for choice in word.split("|")]
    return found


def shrink(name: str, flags: list[str]) -> list[str]:
    """The flags with SMALL's values instead of the printed ones."""
    if {"--resume", "--help"} & set(flags):
        return flags
    defaults = SMALL.get("minivit live" if "--live" in flags else name, {})
    if "--budget" in flags:  # it sets the number of epochs
        defaults = {key: value for key, value in defaults.items() if key != "--epochs"}
    changes = defaults | {key: v for key, v in OVERRIDES.items() if key in flags}
    result, skipping = [], False
    for word in flags:
        skipping = word in changes or (skipping and not word.startswith("--"))
        result += [] if skipping else [word]
    for flag, value in changes.items():
        if value or flag == "--quick":
            result += [flag, *value.split()]
    return result


def distinct(lines: Iterable[Line]) -> list[str]:
    """The lines to run: many are the same once made small. `python -m minivit.train` is run as
    `minivit train`, and the module only with --help."""
    found: dict[str, None] = {}
    for line in lines:
        name, flags = split(line)
        for variant in alternatives(complete(name, flags)):
            found[" ".join([name, *shrink(name, variant)])] = None
        if line.text.startswith("python -m minivit."):
            found[" ".join([*line.words[:3], "--help"])] = None
    return list(found)
