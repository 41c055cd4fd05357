"""Where the runs are done: in this process, in processes of this machine, on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convcraft.lab.experiments.runs import Record, Unit, perform


def map_unordered(
    units: Sequence[Unit], *, jobs: int = 1, scheduler: str | None = None
) -> Iterator[list[Record]]:
    """The records of every unit, as soon as it is done, in whatever order.

    `jobs` processes of this machine, or the workers of a Dask scheduler, "tcp://HOST:PORT".
    Raises what the first unit to fail raises.
    """
    if scheduler is not None:
        from convcraft.lab.experiments.cluster import perform_on

        return perform_on(scheduler, units)
    return sequential(units) if jobs == 1 or len(units) < 2 else processes(units, jobs)


def sequential(units: Sequence[Unit]) -> Iterator[list[Record]]:
    """One after another in this process."""
    return map(perform, units)


def processes(units: Sequence[Unit], jobs: int) -> Iterator[list[Record]]:
    """By joblib's processes, one thread each."""
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="2*n_jobs", return_as="generator_unordered")
        yield from pool(delayed(perform)(unit) for unit in units)
