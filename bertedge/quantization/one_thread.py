"""Linear algebra whose results do not depend on the number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let numpy's BLAS use one thread, in the whole process.

    With several threads, the order of its sums depends on their number. A difference in the last bit may round a weight
    to another step, so the same input would make another bundle on another machine.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
