"""The processes that train one model: a single process, or the processes that ``torchrun`` started."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import distributed as dist

from bertedge.errors import UnfitMachineError

#: A process may wait long for another, for example while process 0 tokenizes the corpus.
TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True, kw_only=True)
class World:
    """This process and its number among all processes that train one model.

    Attributes:
        rank: the number of this process; process 0 writes files and notes.
        size: the number of processes.
        device: the device of this process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each number summed over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def from_first(self, value: float) -> float:
        """Process 0's value, in every process."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, src=0)
        return tensor.item()

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Process 0 runs the block first. Then the other processes run it and find its files."""
        if self.size > 1 and not self.first:
            dist.barrier()
        yield
        if self.size > 1 and self.first:
            dist.barrier()


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that ``torchrun`` started, if there are any (gloo on CPUs, nccl on GPUs).

    Raises:
        UnfitMachineError: the machine has GPUs, but fewer GPUs than processes.
    """
    device = _device()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    if device.type == "cuda":
        dist.init_process_group("nccl", timeout=TIMEOUT, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield World(rank=dist.get_rank(), size=size, device=device)
        dist.barrier()  # a process that ends early would close connections that others use
    finally:
        # the wrapped model refers to the group in reference cycles; if the model outlived the group, threads of
        # the group would abort the interpreter at exit
        gc.collect()
        dist.destroy_process_group()


def _device() -> torch.device:
    """The GPU of this process, or the CPU."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus == 0:
        return torch.device("cpu")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > gpus:
        raise UnfitMachineError(
            f"there are {processes} processes on this machine, which has {gpus} GPU{'s' if gpus > 1 else ''}",
            "start one for each GPU; or hide the GPUs with CUDA_VISIBLE_DEVICES= to train on CPUs",
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
