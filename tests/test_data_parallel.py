"""The example of one network on several devices: two real processes over gloo are one process, to rounding.

Everything stays on the loopback device. Processes that share one GPU are tested where there is one.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft import normalization as N

EXAMPLE = Path(__file__).parents[1] / "examples" / "data_parallel.py"
# 150 examples in batches of 47: parts of 24 and 23, and a last batch of 9 with parts of 5 and 4.
SETTINGS = "--epochs 2 --limit 150 --batch-size 47 --channels 4 --blocks 1 --dtype float64".split()

# What each of the two processes does: it trains, leaves its weights, and tries the layers on its part.
WORKER = """
import importlib.util, json, sys
import torch
import torch.distributed as dist
from torch import nn
from convcraft import normalization as N

spec = importlib.util.spec_from_file_location("data_parallel", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
folder, device = sys.argv[2], torch.device(sys.argv[3])
dist.init_process_group("gloo")
rank = dist.get_rank()
model = example.main([*sys.argv[4:], "--device", device.type, "--save", f"{folder}/saved.pt"])
torch.save(model.state_dict(), f"{folder}/weights{rank}.pt")

part = torch.load(f"{folder}/part{rank}.pt")
found = {}
plain = nn.Sequential(nn.Conv2d(3, 3, 1), N.BatchNorm2d(3)).double()
plain[1].load_state_dict(part["layer"])
layer = example.synchronize(plain, device)[1].to(device)
x = part["x"].to(device).requires_grad_(True)
y = layer(x)
grads = torch.autograd.grad((y * part["g"].to(device)).sum(), [x, layer.weight, layer.bias])
found["kind"] = type(layer).__name__
for name, value in zip(["y", "of_x", "of_weight", "of_bias"], [y, *grads]):
    found[name] = value.tolist()
found["state"] = {name: value.tolist() for name, value in layer.state_dict().items()}
ours = N.SyncBatchNorm(3).double().to(device)
ours.load_state_dict(part["layer"])
found["eval"] = ours.eval()(x).tolist()
try:
    found["train"] = ours.train()(x).tolist()
except ValueError as error:
    found["refused"] = str(error)
with open(f"{folder}/found{rank}.json", "w") as file:
    json.dump(found, file)
dist.destroy_process_group()
"""


def load_example():
    spec = importlib.util.spec_from_file_location("data_parallel", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torchrun(*arguments, processes=2):
    """Run a script in two processes of this machine, and end them all whatever happens."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    started = subprocess.Popen(
        [*launch, f"--nproc-per-node={processes}", *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = started.communicate(timeout=300)
    finally:
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        started.wait()
    assert started.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def joined():
    """A batch of 8 with the gradient that arrives, and a layer with statistics of its own."""
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 8, 3, 4, 5, dtype=torch.float64, generator=generator)
    layer = N.BatchNorm2d(3).double()
    with torch.no_grad():
        for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            value.copy_(torch.rand(3, generator=generator) + 0.5)
    return 5 + 2 * x, g, layer


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def processes(request, joined, tmp_path_factory):
    """What the two processes left: (device, weights, found, output, saved); parts of 3 and 5."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here: torch.nn.SyncBatchNorm in training is not tested")
    folder = tmp_path_factory.mktemp("two")
    x, g, layer = joined
    for rank, rows in enumerate((slice(0, 3), slice(3, 8))):
        torch.save({"x": x[rows], "g": g[rows], "layer": layer.state_dict()}, folder / f"part{rank}.pt")
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    output = torchrun(folder / "worker.py", EXAMPLE, folder, request.param, *SETTINGS)
    weights = [torch.load(folder / f"weights{rank}.pt", map_location="cpu") for rank in (0, 1)]
    found = [json.loads((folder / f"found{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    saved = torch.load(folder / "saved.pt", map_location="cpu")
    return request.param, weights, found, output, saved


@pytest.fixture(scope="module")
def alone():
    """The weights after training in this process on the joined batches."""
    return load_example().main([*SETTINGS, "--device", "cpu"]).state_dict()


def test_both_processes_hold_the_same_weights(processes):
    _, (first, second), *_ = processes
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_train_the_network_of_one(processes, alone):
    """Weights, running statistics and their count; the rounding of eight steps in float64 stays far below."""
    _, (first, _), *_ = processes
    assert list(first) == list(alone)
    for name, value in alone.items():
        torch.testing.assert_close(
            first[name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_statistics_of_each_part_alone_would_train_another_network(alone):
    """The comparison above can fail: without synchronization the parts of a batch are normalized apart."""
    example = load_example()
    options = example.parser().parse_args([*SETTINGS, "--device", "cpu"])
    model = example.training.seeded(lambda: example.build(4, 1), 0).double()
    splits = example.data.load("digits", dtype=torch.float64).standardized()
    rows, _ = next(example.batches(150, options.batch_size, 0, 0))
    x = splits.train.x[rows]
    whole, parts = model(x), torch.cat([model(part) for part in x.split(24)])
    assert float((whole - parts).detach().abs().max()) > 0.01


def test_batch_normalization_across_processes_is_that_of_the_joined_batch(processes, joined):
    device, _, found, *_ = processes
    x, g, layer = joined
    layer = N.BatchNorm2d(3).double().train()
    layer.load_state_dict(joined[2].state_dict())
    x = x.clone().requires_grad_(True)
    y = layer(x)
    of_x, of_weight, of_bias = torch.autograd.grad((y * g).sum(), [x, layer.weight, layer.bias])

    def close(a, b):
        torch.testing.assert_close(torch.tensor(a, dtype=torch.float64), b.double(), rtol=1e-6, atol=1e-8)

    for name, value in {"y": y, "of_x": of_x}.items():
        close(found[0][name] + found[1][name], value.detach())
    for name, value in {"of_weight": of_weight, "of_bias": of_bias}.items():  # each has that of its part
        close([a + b for a, b in zip(found[0][name], found[1][name], strict=True)], value)
    for name, value in layer.state_dict().items():
        assert found[0]["state"][name] == found[1]["state"][name]
        close(found[0]["state"][name], value)
    kind = "SyncBatchNorm" if device == "cuda" else "BatchNormAcrossProcesses"
    assert found[0]["kind"] == found[1]["kind"] == kind


def test_sync_batch_norm_does_on_the_cpu_what_torch_lets_it(processes, joined):
    """Prediction everywhere; training on GPUs only, and else a refusal, never statistics of one part."""
    device, _, found, *_ = processes
    x, _, layer = joined
    predicted = nn.functional.batch_norm(
        x, layer.running_mean, layer.running_var, layer.weight.detach(), layer.bias.detach()
    )
    torch.testing.assert_close(
        torch.tensor(found[0]["eval"] + found[1]["eval"], dtype=torch.float64), predicted
    )
    for each in found:
        if device == "cpu":
            assert "GPU" in each["refused"] and "train" not in each
        else:
            assert "refused" not in each and torch.tensor(each["train"]).isfinite().all()


def test_the_first_process_alone_reports_and_saves(processes):
    _, (first, _), _, output, saved = processes
    assert output.count("validation accuracy") == 2 and "epoch   2 of 2" in output
    assert list(saved) == list(first) and all(torch.equal(saved[name], first[name]) for name in first)


def test_a_batch_too_small_to_be_shared_is_refused():
    with pytest.raises(ConvcraftError, match="--batch-size .*at least 2 for each of the 1; got 1"):
        load_example().main(["--batch-size", "1", "--device", "cpu"])
