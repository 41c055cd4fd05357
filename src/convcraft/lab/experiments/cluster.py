"""The runs of a study on the workers of a Dask scheduler."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from convcraft import __version__
from convcraft.errors import ConvcraftError
from convcraft.lab.experiments.run import Record, Task

#: seconds within which a scheduler must answer, and within which a first worker must join it
ANSWER_WITHIN = 10.0
WORKER_WITHIN = 60.0

#: the runs of a task -> their records
Perform = Callable[[Task], list[Record]]
_one_at_a_time = threading.Lock()


def versions() -> dict[str, str]:
    """The versions that decide the numbers of a run; builds for the CPU and for GPUs count as the same."""
    return {"convcraft": __version__, "torch": torch.__version__.split("+")[0]}


def perform_here(task: Task, perform: Perform, expected: Mapping[str, str]) -> list[Record]:
    """What a worker does: the runs of a task, one at a time however many threads the worker has.

    A run sets the random generators and the thread count of its process, so two must not share it.
    Raises ConvcraftError if the worker's versions differ from those of the machine that asks.
    """
    found = versions()
    if found != dict(expected):
        raise ConvcraftError(
            f"all workers must have the same versions as the machine that runs the study, {dict(expected)}; a "
            f"worker has {found}. Install the same on all of them."
        )
    with _one_at_a_time:
        return perform(task)


async def _kind_of(address: str) -> str:
    """What answers at an address, in Dask's words ("Scheduler", "Worker"); else what went wrong.

    A client would wait forever for a program that accepts connections but is not part of Dask.
    """
    from distributed.core import rpc

    async def ask() -> str:
        async with rpc(address, timeout=ANSWER_WITHIN) as other:
            return str((await other.identity())["type"])

    try:
        return await asyncio.wait_for(ask(), ANSWER_WITHIN)
    except Exception as error:  # whatever another program answers
        text = str(error) or f"no answer within {ANSWER_WITHIN:g} s"
        return f"{type(error).__name__}: {text}"


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """A client of the scheduler, once it has a worker; raises ConvcraftError if nothing answers or no worker joins."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ConvcraftError(
            f"--scheduler needs Dask's distributed, which is not installed ({error}): pip install 'convcraft[cluster]'"
        ) from error
    with ThreadPoolExecutor(1) as pool:  # asyncio.run needs a thread without a running event loop; a notebook's has one
        kind = pool.submit(asyncio.run, _kind_of(scheduler)).result()
    if kind != "Scheduler":
        raise ConvcraftError(
            f"scheduler must be the address of a running Dask scheduler, tcp://HOST:PORT; {scheduler!r} is "
            f"not ({kind}). Start one with `dask scheduler`, and pass the address that it prints."
        )
    client = Client(scheduler, timeout=ANSWER_WITHIN, set_as_default=False)
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_WITHIN)
        except TimeoutError as error:
            raise ConvcraftError(
                f"a scheduler needs workers; none joined {scheduler} within {WORKER_WITHIN:g} s. Start some "
                f"with `dask worker {scheduler} --nworkers -1 --nthreads 1`."
            ) from error
        yield client


def perform_on(scheduler: str, tasks: Sequence[Task], perform: Perform) -> Iterator[list[Record]]:
    """The records of every task, done by the workers of a scheduler, each as soon as it is ready.

    When a worker dies, the scheduler gives its task to another; a task that has killed several workers is
    abandoned. Raises ConvcraftError if the scheduler or all workers fail, and whatever `perform` raises.
    """
    if not tasks:
        return
    with connected(scheduler) as client:
        from distributed import as_completed

        futures = client.map(perform_here, tasks, perform=perform, expected=versions(), pure=False)
        task_of = {future.key: task for future, task in zip(futures, tasks, strict=True)}
        for future in as_completed(futures, loop=client.loop):
            records = _result(future, task_of[future.key], scheduler)
            future.release()  # otherwise it would be done again if the worker that holds it died
            yield records


def _result(future: Any, task: Task, scheduler: str) -> list[Record]:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ConvcraftError(
            f"the {task.keys[0]} must not kill its worker; {error.allowed_failures + 1} workers died while "
            "they held it. Look at their logs: often the memory ran out. Finished runs are kept."
        ) from error
    except CancelledError as error:
        raise ConvcraftError(
            f"the scheduler {scheduler} must keep running to the end; the connection was lost "
            f"({type(error).__name__}). Finished runs are kept; start it again and call again."
        ) from error
    except ImportError as error:
        raise ConvcraftError(
            f"convcraft[data] must be installed where the scheduler and the workers run; got: {error}. "
            "Install it there, in the same version."
        ) from error
