"""`minivit models`: the published Vision Transformers that can be loaded."""

from dataclasses import dataclass

from minivit.commands.cli import parse
from minivit.interop.huggingface import KINDS
from minivit.interop.timm import UNSUPPORTED


@dataclass(frozen=True)
class Options:
    """List the published Vision Transformers that minivit can load, and those that need a part that
    is not implemented. Nothing is downloaded; docs/models.md lists where to get the files.
    """


def main(options: Options) -> int:
    """Print one line per family."""
    print("A .safetensors file, or a folder with one and its config.json, of")
    print(
        f"  {'timm':22} vit_* and deit*: ViT, AugReg, DeiT, DINO, DINOv2, DINOv3, CLIP, SigLIP, …"
    )
    for model_type, kind in KINDS.items():
        print(f"  {model_type:22} transformers: {kind.summary}")
    print("An .npz file of")
    print(f"  {'vision_transformer':22} the paper's own, with flax's names")
    print("Not supported:")
    for pattern, reason in UNSUPPORTED:
        print(f"  {pattern:22} {reason}")
    return 0


def run(argv: list[str], prog: str = "minivit models") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
