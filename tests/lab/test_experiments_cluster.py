"""Studies on a Dask cluster: real processes on loopback, one of them killed, give the numbers of one core."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import distributed
import pytest

from convcraft import ConvcraftError
from convcraft.__main__ import main as command_line
from convcraft.lab.experiments import Study, cluster, executors, run_study
from convcraft.lab.experiments.run import Key, Task

# A worker with HANG in its environment never finishes the second network that it makes; the other one, with
# AFTER, waits for that with its first.
STUDY = '''
"""A small study (chapter 1)."""

import os
import pathlib
import time

import torch

from convcraft.lab import data, models
from convcraft.lab.experiments import Study

MADE = []


def splits(arm):
    return data.load("digits").standardized()


def model(arm):
    MADE.append(arm)
    if os.environ.get("HANG") and len(MADE) > 1:
        pathlib.Path(os.environ["HANG"]).write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(3600)
    while os.environ.get("AFTER") and not os.path.exists(os.environ["AFTER"]):
        time.sleep(0.02)
    return models.MLP((64, arm["width"], 10))


def measure(model, splits, arm, seed):
    return {"threads": torch.get_num_threads(), "noise": float(torch.rand(()))}


STUDY = Study(
    arms={"narrow": {"width": 4}, "wide": {"width": 8}},
    rates=(0.01, 0.1),
    seeds=range(3),
    tuning_seeds=range(100, 102),
    extensions=0,
    splits=splits,
    model=model,
    measure=measure,
    fit={"epochs": 1},
)
'''


def start(*arguments, folder, **environment):
    """A process of Dask that stays on loopback and does not know this repository."""
    quiet = {"OMP_NUM_THREADS": "1", "DASK_LOGGING__DISTRIBUTED": "error", "PYTHONPATH": "", **environment}
    log = open(folder / "log", "a")
    command = [sys.executable, "-m", *arguments, "--host", "127.0.0.1"]
    command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **quiet}, stdout=log, stderr=log)


def wait_for(path, process):
    while not path.exists() or not path.read_text(encoding="utf-8").strip():
        assert process.poll() is None, (path.parent / "log").read_text(encoding="utf-8")
        time.sleep(0.05)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def two_workers(tmp_path):
    """(address, the worker that will hang, the file that it writes then)."""
    hang, scheduler_file, started = tmp_path / "hang", tmp_path / "scheduler.json", []
    try:
        scheduler = (
            "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", scheduler_file,
            "--idle-timeout", "10 minutes",  # where this process is killed and cannot end it
        )  # fmt: skip
        started.append(start(*scheduler, folder=tmp_path))
        wait_for(scheduler_file, started[0])
        address = json.loads(wait_for(scheduler_file, started[0]))["address"]
        worker = (
            "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
            "--death-timeout", "300", "--local-directory", str(tmp_path),
        )  # fmt: skip
        started += [start(*worker, folder=tmp_path, **{role: str(hang)}) for role in ("HANG", "AFTER")]
        with distributed.Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=200)
        yield address, started[1], hang
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "small.py").write_text(STUDY, encoding="utf-8")
    return tmp_path / "studies"


def numbers(results):
    """Every record without its times."""
    return [{k: v for k, v in run.items() if k != "cpu_seconds"} for run in results.runs]


def test_a_killed_worker_loses_nothing_and_the_numbers_are_those_of_one_core(two_workers, folder):
    address, worker, hang = two_workers
    killed = []

    def kill():
        killed.append(int(wait_for(hang, worker)))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    spread = run_study("small", scheduler=address, folder=folder)
    killer.join(timeout=60)
    assert killed == [worker.pid] and worker.wait() == -signal.SIGKILL
    assert len(spread.runs) == 2 * 2 * 2 + 2 * 3
    assert numbers(spread) == numbers(run_study("small", folder=folder, changes={"seeds": range(3)}))
    assert {run["threads"] for run in spread.runs if run["phase"] == "final"} == {1}
    assert spread.provenance["scheduler"] is True and spread.provenance["jobs"] is None
    assert spread.provenance["hardware"] == "workers of a Dask cluster, cpu"
    assert json.loads((folder.parent / "results" / "small.json").read_text(encoding="utf-8"))["runs"]
    assert not (folder.parent / "results" / ".small").exists()


@pytest.fixture(scope="module")
def threads():
    """A scheduler and one worker of four threads, all in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=4, processes=False, dashboard_address="127.0.0.1:0", host="127.0.0.1",
        protocol="tcp://",
    ) as running:  # fmt: skip
        yield running


def noisy(arm, rate, seed, splits, final):
    """Draws from the generators of its process, with pauses in which another thread could."""
    import torch

    drawn = []
    for _ in range(5):
        drawn.append(float(torch.rand(())))
        time.sleep(0.01)
    return {"score": drawn}


def test_the_threads_of_a_worker_do_not_disturb_each_other(threads):
    study = Study(arms={"a": {}}, seeds=range(8), run=noisy)
    spread, alone = run_study(study, scheduler=threads.scheduler_address), run_study(study)
    assert numbers(spread) == numbers(alone)
    assert len({tuple(run["score"]) for run in alone.runs}) == 8


def test_nothing_to_do_needs_no_scheduler():
    assert list(executors.map_unordered([], scheduler="tcp://127.0.0.1:1")) == []


def fails(arm, rate, seed, splits, final):
    raise RuntimeError("the plug was pulled")


def test_what_a_study_raises_arrives_with_the_name_of_the_run(threads):
    with pytest.raises(ConvcraftError, match="final run of 'a', seed 0 failed.*the plug was pulled"):
        run_study(Study(arms={"a": {}}, seeds=[0], run=fails), scheduler=threads.scheduler_address)


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("kind", ["nobody", "somebody else", "a worker", "http", "no address"])
def test_what_is_no_scheduler_is_named_and_results_stay(kind, folder, monkeypatch, threads):
    monkeypatch.setattr(cluster, "ANSWER_WITHIN", 1.0 if kind in ("nobody", "somebody else") else 30.0)
    results = folder.parent / "results"
    results.mkdir()
    (results / "other.json").write_text("{}", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never says a word
        address = {
            "nobody": f"tcp://127.0.0.1:{unused_port()}",
            "somebody else": f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            "a worker": threads.workers[0].address,
            "http": "http://127.0.0.1:80",
            "no address": "the big machine",
        }[kind]
        with pytest.raises(ConvcraftError, match="scheduler must be the address") as caught:
            run_study("small", scheduler=address, folder=folder)
    assert repr(address) in str(caught.value) and "dask scheduler" in str(caught.value)
    assert not (results / "small.json").exists()
    assert (results / "other.json").read_text(encoding="utf-8") == "{}"


def test_the_command_line_says_it_in_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "ANSWER_WITHIN", 1.0)
    address = f"tcp://127.0.0.1:{unused_port()}"
    assert command_line(["study", "small", "--scheduler", address, "--folder", str(folder)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("convcraft: scheduler must be the address") and address in last


def test_a_scheduler_without_workers_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_WITHIN", 0.2)
    with distributed.LocalCluster(
        n_workers=0, processes=False, dashboard_address="127.0.0.1:0", host="127.0.0.1", protocol="tcp://"
    ) as empty:
        with pytest.raises(ConvcraftError, match="needs workers; none joined tcp://127"):
            run_study(Study(arms={"a": {}}, seeds=[0], run=noisy), scheduler=empty.scheduler_address)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConvcraftError, match=r"pip install 'convcraft\[cluster\]'"):
        run_study(Study(arms={"a": {}}, seeds=[0], run=noisy), scheduler="tcp://127.0.0.1:1")


UNIT = Task("s", None, (Key("final", "a", None, 0),), study=Study(arms={"a": {}}, seeds=[0], run=noisy))


def test_a_worker_of_another_version_refuses():
    assert cluster.perform_here(UNIT, executors.perform, cluster.versions())[0]["arm"] == "a"
    with pytest.raises(ConvcraftError, match="'torch': '0.1'.*a worker has"):
        cluster.perform_here(UNIT, executors.perform, {**cluster.versions(), "torch": "0.1"})


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (distributed.KilledWorker("task", None, 3), "final run of 'a', seed 0 must not kill.*4 workers died"),
        (distributed.client.FutureCancelledError("task", "scheduler"), "tcp://h:1 must keep running.*was lost"),
        (ModuleNotFoundError("No module named 'convcraft'"), "must be installed.*No module named"),
    ],
    ids=["deadly unit", "scheduler gone", "not installed"],
)
def test_the_end_of_workers_or_scheduler_is_named(error, named):
    class Future:
        def result(self):
            raise error

    with pytest.raises(ConvcraftError, match=named):
        cluster._result(Future(), UNIT, "tcp://h:1")


def test_the_gpu_is_that_of_the_workers_not_of_the_machine_that_asks(folder, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_WITHIN", 1.0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConvcraftError, match="scheduler must be the address"):  # asked, not refused before
        run_study("small", scheduler=f"tcp://127.0.0.1:{unused_port()}", device="cuda", folder=folder)
