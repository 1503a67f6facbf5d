"""Progress of training: a bar in a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm


class Progress:
    """total, done: number of images in the whole run, and how many are already done. shown: whether
    to show a bar, in a terminal.
    """

    def __init__(self, total: int, done: int, shown: bool = True):
        self.started = time.perf_counter()
        self.total, self.done, self.first = total, done, done
        self.bar = tqdm(
            total=total,
            initial=done,
            unit="img",
            unit_scale=True,
            smoothing=0.05,
            dynamic_ncols=True,
            disable=not (shown and sys.stderr.isatty()),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, images: int) -> None:
        """Count this many more images as done."""
        self.done += images
        self.bar.update(images)

    def rate(self) -> float:
        """Images/s since this process began to train, evaluation and checkpoints included."""
        return (self.done - self.first) / (time.perf_counter() - self.started)

    def show(self, *, epoch: float, loss: float, accuracy: float, lr: float, rate: float) -> None:
        """Loss and accuracy of the last steps; rate in images/s."""
        numbers = f"loss {loss:.3f}  acc {accuracy:5.1%}  lr {lr:.2e}"
        if not self.bar.disable:
            self.bar.set_postfix_str(numbers)
            return
        remaining = tqdm.format_interval((self.total - self.done) / rate)
        self.write(f"epoch {epoch:6.2f}  {numbers}  {rate:.0f} images/s  {remaining} left")

    def write(self, line: str) -> None:
        """Print a permanent line above the bar."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
