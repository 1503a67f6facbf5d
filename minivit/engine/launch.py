"""What a launcher such as mpiexec or srun sets in the environment."""

import os
from typing import NamedTuple

from minivit.errors import UserError
from minivit.ranges import whole_number


class Launch(NamedTuple):
    """A launcher's settings: how many processes it started, and the number of this one on its
    machine.
    """

    size: int
    local_rank: int


LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),  # Open MPI
    ("PMI_SIZE", "MPI_LOCALRANKID"),  # MPICH, Intel MPI, srun --mpi=pmi2
    ("SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun, with any --mpi
)
"""The environment variables of each launcher."""


def find_launch() -> Launch:
    """The launcher's settings from the environment; one process if there are none."""
    for size, local_rank in LAUNCHERS:
        count = whole_number(os.environ.get(size, ""))
        if count is not None:
            return Launch(count, whole_number(os.environ.get(local_rank, "")) or 0)
    return Launch(1, 0)


def require_single_process(what: str) -> None:
    """Raises UserError if a launcher started several processes for a command that runs in one."""
    started = find_launch().size
    if started > 1:
        raise UserError(
            f"{what} runs in one process, but {started} were started; leave out mpiexec"
        )
