"""Work spread over processes or machines by joblib; results come in the order of the jobs."""

import os
from collections.abc import Callable, Generator, Iterable
from functools import cache
from threading import Thread
from time import sleep
from typing import TypeVar, cast

Result = TypeVar("Result")


def ordered(
    function: Callable[..., Result], jobs: Iterable[tuple], n_jobs: int | None
) -> Generator[Result, None, None]:
    """Yield function(*job) for each job, in the order of the jobs; closing the generator ends the work.

    Args:
        function: Function to call; it and the jobs must pickle where processes share the work.
        jobs: Arguments of each call.
        n_jobs: Number of processes; -1 for one a core. None follows `joblib.parallel_config`: one without it, a
            Dask cluster's workers under `joblib.parallel_config(backend="dask")`.
    """
    if n_jobs == 1:
        for job in jobs:
            yield function(*job)
        return
    from joblib import Parallel, delayed

    worked = delayed(_in_worker)
    results = Parallel(n_jobs=n_jobs, return_as="generator")(worked(os.getpid(), function, job) for job in jobs)
    yield from cast(Generator[Result, None, None], results)


def workers(n_jobs: int | None) -> int:
    """Number of processes that `ordered` uses."""
    if n_jobs == 1:
        return 1
    from joblib import effective_n_jobs

    return effective_n_jobs(cast(int, n_jobs))  # joblib's annotation forgets None


def _in_worker(parent: int, function: Callable[..., Result], job: tuple) -> Result:
    _end_with(parent)
    return function(*job)


@cache
def _end_with(parent: int) -> None:
    """End this worker when the process that started it has ended: a killed process cannot stop its workers itself."""
    if os.getppid() == parent:
        Thread(target=_exit_without, args=(parent,), daemon=True).start()


def _exit_without(parent: int) -> None:
    while os.getppid() == parent:
        sleep(1)
    os._exit(1)
