"""The runs of a study on the workers of a Dask scheduler."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import torch

from convcraft import __version__
from convcraft.errors import ConvcraftError
from convcraft.lab.experiments.runs import Record, Unit, perform

#: seconds until a scheduler must have answered, and until a first worker must have joined it
ANSWER_WITHIN = 10.0
WORKER_WITHIN = 60.0

_one_at_a_time = threading.Lock()


def versions() -> dict[str, str]:
    """Of what decides the numbers of a run; a build for the CPU or a GPU counts as the same version."""
    return {"convcraft": __version__, "torch": torch.__version__.split("+")[0]}


def perform_here(unit: Unit, expected: Mapping[str, str]) -> list[Record]:
    """What a worker does: the runs of a unit, one at a time however many threads the worker has.

    A run sets the random generators and the thread count of its process, so two must not share it.
    Raises ConvcraftError where the worker has other versions than the machine that asks.
    """
    found = versions()
    if found != dict(expected):
        raise ConvcraftError(
            f"all workers must have the versions of the machine that runs the study, {dict(expected)}; a "
            f"worker has {found}. Install the same on all of them."
        )
    with _one_at_a_time:
        return perform(unit)


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """A client of the scheduler that has a worker; ConvcraftError where none answers, or nobody works."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ConvcraftError(
            f"--scheduler needs Dask's distributed, which is not installed ({error}): pip install "
            "'convcraft[cluster]'"
        ) from error
    try:
        client = Client(scheduler, timeout=ANSWER_WITHIN, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ConvcraftError(
            f"scheduler must be the address of a running Dask scheduler, tcp://HOST:PORT; {scheduler!r} does "
            f"not answer as one ({type(error).__name__} within {ANSWER_WITHIN:g} s). Start one with `dask "
            "scheduler` and take the address that it prints."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_WITHIN)
        except TimeoutError as error:
            raise ConvcraftError(
                f"a scheduler needs workers; none joined {scheduler} within {WORKER_WITHIN:g} s. Start some "
                f"with `dask worker {scheduler} --nworkers auto --nthreads 1`."
            ) from error
        yield client


def perform_on(scheduler: str, units: Sequence[Unit]) -> Iterator[list[Record]]:
    """The records of every unit, as soon as it is done, by the workers of a scheduler.

    A worker that dies is no loss: the scheduler gives its unit to another one. A unit that several workers
    died of is given up.
    Raises ConvcraftError where the scheduler or all workers fail, and what `perform` raises.
    """
    if not units:
        return
    with connected(scheduler) as client:
        from distributed import as_completed

        futures = client.map(perform_here, units, expected=versions(), pure=False, batch_size=None)
        try:
            for future in as_completed(futures):
                records = _result(future, scheduler)
                future.release()  # or the death of the worker that holds it would have it done again
                yield records
        finally:
            client.cancel(futures)


def _result(future: Any, scheduler: str) -> list[Record]:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ConvcraftError(
            f"a unit of the study must not end its worker; {1 + len(error.args)}... {error}"
        ) from error
    except CancelledError as error:
        raise ConvcraftError(
            f"the connection with the scheduler {scheduler} was lost ({type(error).__name__}). Finished runs "
            "are kept; start it again and call again."
        ) from error
    except ImportError as error:
        raise ConvcraftError(
            f"every worker must have convcraft with its extra 'data' installed; one answered: {error}. "
            "Install it in the environment of the scheduler and of the workers."
        ) from error
