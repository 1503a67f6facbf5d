"""The processes that train one model together: here, a single process."""

from collections.abc import Callable
from typing import TypeVar

from minivit.backend import Array

T = TypeVar("T")


class World:
    """A single process, for which all collective operations are trivial.

    rank: its number. size: how many there are. threads: workers that suit each; None for the
    default of a single process.
    """

    rank, size = 0, 1
    threads: int | None = None

    @property
    def main(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    def rows(self, count: int) -> range:
        """This rank's part of `count` rows, which are divided as evenly as possible."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def all_reduce(self, array: Array) -> None:
        """Replace an array by its sum over the ranks."""

    def start_all_reduce(self, array: Array) -> Callable[[], None]:
        """Start an `all_reduce`. The array must not be used until the returned function has been
        called, which waits for completion.
        """
        return lambda: None

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on some rank."""
        return flag

    def from_main(self, function: Callable[[], T]) -> T:
        """The function's result on rank 0, the only rank that calls it."""
        return function()

    def in_turn(self, function: Callable[[], T]) -> T:
        """The function's result: one rank per machine calls it first, and may download or cache
        what the others then find.
        """
        return function()

    def require_same(self, **values: str) -> None:
        """Raises UserError if a rank's values differ from rank 0's."""

    def set_timeout(self, seconds: float, advice: str) -> None:
        """From now on, end all ranks if one waits longer than this; advice: what to do in that
        case.
        """

    def local_device(self, device: str) -> str:
        """This rank's device, given the `device` of all: each rank gets its own GPU.

        Raises:
            UserError: more ranks than GPUs on a machine, or one GPU named for all; as
            `parse_device`.
        """
        return device
