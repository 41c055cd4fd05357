"""Train one network on several devices: torchrun, DistributedDataParallel, synchronized batch normalization.

One process, to begin with, on a GPU if there is one:

    python examples/data_parallel.py

One machine, a process for each of its 4 GPUs; or 2 processes on the CPU:

    torchrun --standalone --nproc-per-node=4 examples/data_parallel.py --data fashion-mnist
    torchrun --standalone --nproc-per-node=2 examples/data_parallel.py --device cpu

Two machines of 8 GPUs: the same command on both, HOST being the name of one of them:

    torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29500 \
        examples/data_parallel.py --data fashion-mnist

However many processes share the work, `--batch-size` is the number of examples between two steps of all of
them together, each process takes its part of every batch, and the weights come out the same to rounding:

- Gradients. DistributedDataParallel averages those of all processes while the backward pass still runs. Each
  process divides the sum of its losses by the size of the whole batch over the number of processes, so that
  the average is the gradient of the mean over the batch, also where the parts are of unequal size.
- Statistics. A batch normalization that looked at its process's part alone would normalize by fewer examples,
  the more devices there are. On GPUs torch.nn.SyncBatchNorm puts the parts together. It refuses CPU tensors;
  for them `BatchNormAcrossProcesses` below does the same with two sums.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from convcraft import ConvcraftError, initialization, penalties
from convcraft.lab import data, training
from convcraft.normalization import BatchNorm2d, SyncBatchNorm


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return SumOverProcesses.apply(grad.contiguous())


class BatchNormAcrossProcesses(BatchNorm2d):
    """Batch normalization by the statistics of all processes together, for what SyncBatchNorm refuses."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(x)
        here = torch.cat([x.sum((0, 2, 3)), x.new_tensor([x.numel() / x.shape[1]])])
        sums, count = SumOverProcesses.apply(here).split([x.shape[1], 1])
        mean = sums / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def synchronize(model: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch normalization by one over all processes; its weights and statistics stay."""
    if device.type != "cpu":
        return SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                new = BatchNormAcrossProcesses(layer.num_features, layer.eps, layer.momentum).to(layer.weight)
                new.load_state_dict(layer.state_dict())
                setattr(parent, name, new)
    return model


class Block(nn.Module):
    """x + two convolutions, each with batch normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = BatchNorm2d(channels), BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(inside)))


class ResidualNet(nn.Sequential):
    """A stem, three stages that double the channels and halve the image, and an average over the image."""

    def __init__(self, channels: int = 32, blocks: int = 2, in_channels: int = 1, classes: int = 10) -> None:
        layers: list[nn.Module] = []
        for width in (channels, 2 * channels, 4 * channels):
            stride = 2 if layers else 1
            convolution = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
            layers += [convolution, BatchNorm2d(width), nn.ReLU(), *(Block(width) for _ in range(blocks))]
            in_channels = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, classes))


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def batches(n: int, size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, int]]:
    """This process's part of every batch of an epoch, and the size of the whole batch.

    All processes draw the same order, and each takes every world_size()-th example of a batch. A last batch
    with fewer than two examples for each process is left out.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
    for rows in order.split(size):
        if len(rows) >= 2 * world_size():
            yield rows[rank() :: world_size()], len(rows)


def total(*values: float) -> list[float]:
    """The sum over all processes of each number."""
    sums = torch.tensor(values, dtype=torch.float64)
    if world_size() > 1:
        sums = sums.to(device_here()) if dist.get_backend() == "nccl" else sums
        dist.all_reduce(sums)
    return sums.tolist()


def device_here(name: str | None = None) -> torch.device:
    """The device of this process: its own GPU where there is one."""
    if (name or "cuda") == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    return torch.device(name or "cpu")


def train(options: argparse.Namespace) -> nn.Module:
    """Train, and return the network of this process; those of all processes are equal."""
    if options.batch_size < 2 * world_size():
        raise ConvcraftError(
            f"--batch-size is that of all processes together and must be at least 2 for each of the "
            f"{world_size()}; got {options.batch_size}. Pass --batch-size {64 * world_size()}."
        )
    device, dtype = device_here(options.device), getattr(torch, options.dtype)
    splits = data.load(options.data, dtype=dtype).standardized()
    n = min(options.limit or len(splits.train), len(splits.train))
    x, y = splits.train.x[:n].to(device), splits.train.y[:n].to(device)
    # Every process builds the network of the seed; DistributedDataParallel sends all of them that of rank 0.
    model = training.seeded(lambda: build(options.channels, options.blocks), options.seed).to(device, dtype)
    if world_size() > 1:
        model = synchronize(model, device)
    ids = [device.index] if device.type == "cuda" else None
    parallel = DistributedDataParallel(model, device_ids=ids) if world_size() > 1 else model
    groups = penalties.decay_groups(model, weight_decay=options.weight_decay)
    optimizer = torch.optim.SGD(groups, lr=options.learning_rate, momentum=0.9, nesterov=True)
    steps = options.epochs * sum(1 for _ in batches(n, options.batch_size, 0, 0))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, max(steps, 2))
    for epoch in range(options.epochs):
        start, lost, seen = time.perf_counter(), 0.0, 0.0
        parallel.train()
        for rows, whole in batches(n, options.batch_size, options.seed, epoch):
            rows = rows.to(device)
            losses = F.cross_entropy(parallel(x[rows]), y[rows], reduction="sum")
            optimizer.zero_grad(set_to_none=True)
            (losses * world_size() / whole).backward()
            optimizer.step()
            schedule.step()
            lost, seen = lost + float(losses.detach()), seen + len(rows)
        report(options, epoch, model, splits.validation, total(lost, seen), time.perf_counter() - start)
    return model


def build(channels: int, blocks: int) -> nn.Module:
    model = ResidualNet(channels, blocks)
    initialization.initialize(model)
    return model


def report(
    options: argparse.Namespace,
    epoch: int,
    model: nn.Module,
    split: data.Split,
    sums: Sequence[float],
    seconds: float,
) -> None:
    """Measure on a part of the validation data in each process, and print the whole in the first."""
    part = data.Split(split.x[rank() :: world_size()], split.y[rank() :: world_size()])
    part = part.to(next(model.parameters()).device)
    found = training.evaluate(model, part)
    right, measured = total(found.accuracy * found.n, found.n)
    if rank() == 0:
        print(
            f"epoch {epoch + 1:3d} of {options.epochs}  training loss {sums[0] / sums[1]:.4f}  "
            f"validation accuracy {right / measured:.4f}  {sums[1] / seconds:,.0f} images/s",
            flush=True,
        )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits", help=f"one of {', '.join(data.names())} (digits)")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cuda where there is one")
    parser.add_argument("--backend", help="nccl on GPUs, gloo on CPUs; gloo lets processes share a GPU")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together (64)")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="the highest of its cycle (0.1)")
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--channels", type=int, default=32, help="of the first stage (32)")
    parser.add_argument("--blocks", type=int, default=2, help="of each stage (2)")
    parser.add_argument("--limit", type=int, help="train on so many examples only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="where the first process leaves the weights"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> nn.Module:
    """Join the other processes, if torchrun started any, train, save, and leave them."""
    joins = int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized()
    options = parser().parse_args(arguments)
    device = device_here(options.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if joins:
        dist.init_process_group(options.backend or ("nccl" if device.type == "cuda" else "gloo"))
    try:
        model = train(options)
        if options.save and rank() == 0:
            torch.save(model.state_dict(), options.save)
        return model
    finally:
        if joins:
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
