"""In which phase of its life a service is: told by the master to all workers, in memory that they share."""

import mmap
from enum import IntEnum


class Phase(IntEnum):
    """The phases, in their order."""

    STARTING = 0
    SERVING = 1
    DRAINING = 2  # requests are still taken, but clients should go elsewhere
    CLOSING = 3  # the listening sockets are about to be closed for good


class SharedPhase:
    """A phase that a process and all that it forks from then on see alike; without a master it stays as it was made."""

    def __init__(self, phase: Phase) -> None:
        self._memory = mmap.mmap(-1, 1)
        self.set(phase)

    def get(self) -> Phase:
        """Give the phase."""
        return Phase(self._memory[0])

    def set(self, phase: Phase) -> None:
        """Enter a phase."""
        self._memory[0] = phase
