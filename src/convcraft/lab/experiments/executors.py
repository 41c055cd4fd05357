"""Where the runs are done: in this process, in processes of this machine, on a cluster."""

from collections.abc import Iterator, Sequence

from convcraft.lab.experiments.run import Record, Task, explained, run_one, surroundings
from convcraft.lab.experiments.vectorized import run_together


def perform(task: Task) -> list[Record]:
    """Do the runs of a task; one record each, in their order.

    Raises ConvcraftError, naming run and place, where the code of the study fails.
    """
    study = task.resolve()
    if task.vectorized:
        with surroundings(task.keys[0].seed, task.device), explained(study, task.keys[0]):
            return run_together(study, task)
    records = []
    for key in task.keys:
        with surroundings(key.seed, task.device), explained(study, key):
            records.append(run_one(study, key, task.device))
    return records


def map_unordered(tasks: Sequence[Task], *, jobs: int = 1, scheduler: str | None = None) -> Iterator[list[Record]]:
    """The records of every task, each as soon as it is done, in any order.

    `jobs` processes of this machine, or the workers of a Dask scheduler, "tcp://HOST:PORT".
    Raises whatever the first task to fail raises.
    """
    if scheduler is not None:
        from convcraft.lab.experiments.cluster import perform_on

        return perform_on(scheduler, tasks, perform)
    return map(perform, tasks) if jobs == 1 or len(tasks) < 2 else processes(tasks, jobs)


def processes(tasks: Sequence[Task], jobs: int) -> Iterator[list[Record]]:
    """The records of every task, done by joblib's processes, one thread each."""
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="2*n_jobs", return_as="generator_unordered")
        yield from pool(delayed(perform)(task) for task in tasks)
