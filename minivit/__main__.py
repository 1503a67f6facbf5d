"""`python -m minivit` lists the commands."""

import sys

COMMANDS = {
    "train": "train a Vision Transformer; without arguments, with a good recipe",
    "pretrain": "learn from pictures without labels, by predicting hidden patches",
    "finetune --from RUN": "go on from a trained model: other classes, larger pictures",
    "study NAME": "trainings that differ in one thing: data, positions, pooling, shape, …",
    "evaluate RUN": "how often a trained model is right, class by class",
    "predict RUN IMAGE…": "what it sees in a picture",
    "attention RUN IMAGE…": "where it looks: figures, scores, a page to explore",
    "trace RUN IMAGE": "every tensor of a forward and a backward pass, step by step",
    "gradcheck": "every hand-written gradient against finite differences",
    "doctor": "what this machine is, and how fast it could be",
}


def main() -> int:
    """Print the commands; 2 where one was asked for in a way that runs none."""
    if len(sys.argv) > 1:
        word = sys.argv[1]
        print(
            f"error: {word}: a command is a module of its own, as in python -m minivit.train",
            file=sys.stderr,
        )
        return 2
    print("A Vision Transformer whose every gradient is written by hand.\n")
    for command, what in COMMANDS.items():
        print(f"  python -m minivit.{command:20} {what}")
    print("\nEach explains itself with --help.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
