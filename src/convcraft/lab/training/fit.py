"""Training one network: a plain loop that is a function of its seed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits
from convcraft.lab.randomness import batch_orders, check_seed, forked, stream
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.losses import Loss, count_correct, device_of, evaluate, resolve_loss
from convcraft.lab.training.progress import Bar

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ScheduleFactory = Callable[[torch.optim.Optimizer], Any]


class DivergedError(ConvcraftError):
    """Raised when training meets a loss that is not finite; the message names epoch, batch and rate."""


def seeded(factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Call a factory with torch's global generator at `seed`, and put the generator back: the model of that
    seed.

    `fit_many` starts from these models, so `fit(seeded(factory, s), splits, seed=s)` trains the same network.

    >>> a, b = (seeded(lambda: nn.Linear(2, 1), seed=4) for _ in range(2))
    >>> torch.equal(a.weight, b.weight)
    True

    Chapter: Convolutional networks.
    """
    with forked(check_seed(seed)):
        return factory()


def check_rate(rate: float) -> None:
    """Raise ConvcraftError unless the learning rate is a finite number above 0."""
    if not (rate > 0 and math.isfinite(rate)):
        raise ConvcraftError(
            f"learning_rate must be a finite number above 0; got {rate}. Pass for example 0.1."
        )


def check_count(name: str, value: int, least: int) -> None:
    """Raise ConvcraftError unless the value is an integer of `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConvcraftError(
            f"{name} must be an integer of {least} or more; got {value!r}. Pass for example 10."
        )


def check_settings(
    splits: Splits, epochs: int, batch_size: int, momentum: float, weight_decay: float
) -> None:
    """Raise ConvcraftError unless there are examples to learn from and the settings are usable."""
    check_count("epochs", epochs, 0)
    check_count("batch_size", batch_size, 1)
    if not (0 <= momentum < 1 and weight_decay >= 0):
        raise ConvcraftError(
            f"momentum must lie in [0, 1) and weight_decay must be 0 or more; got momentum={momentum}, "
            f"weight_decay={weight_decay}. Pass for example momentum=0.9, weight_decay=0."
        )
    for name, part in (("train", splits.train), ("validation", splits.validation)):
        if not len(part):
            raise ConvcraftError(f"splits.{name} must hold examples; got none. Split the data set anew.")


class _Run:
    """The state of one run: what an epoch reads and changes."""

    def __init__(
        self,
        model: nn.Module,
        splits: Splits,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        loss: Loss,
        batch_size: int,
    ) -> None:
        self.model, self.splits, self.optimizer, self.schedule = model, splits, optimizer, schedule
        self.loss, self.function, self.batch_size = loss, resolve_loss(loss), batch_size
        self.best_loss, self.waited = math.inf, 0
        self.best_weights: dict[str, Tensor] | None = None

    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, x: Tensor, y: Tensor, where: str) -> tuple[float, float]:
        """One batch; returns its loss and the number of examples that were right before the step."""
        outputs = self.model(x)
        loss = self.function(outputs, y)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise _diverged(f"the loss is {value} at {where}", self.rate(), x)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return value, count_correct(outputs.detach(), y)

    def epoch(self, number: int, order: Tensor, bar: Bar) -> Epoch:
        self.model.train()
        train, rate = self.splits.train, self.rate()
        total, right = 0.0, 0.0
        batches = order.to(train.x.device).split(self.batch_size)
        for index, rows in enumerate(batches, start=1):
            where = f"epoch {number}, batch {index} of {len(batches)}"
            loss, correct = self.step(train.x[rows], train.y[rows], where)
            total, right = total + loss * len(rows), right + correct
            bar.advance()
        measured = evaluate(self.model, self.splits.validation, loss=self.loss)
        if not math.isfinite(measured.loss):
            where = f"the validation loss is {measured.loss} after epoch {number}"
            raise _diverged(where, rate, self.splits.validation.x)
        bar.say(f"validation loss {measured.loss:.4f}, accuracy {measured.accuracy:.4f}")
        return Epoch(total / len(train), right / len(train), measured.loss, measured.accuracy, rate)

    def advance_schedule(self, validation_loss: float) -> None:
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(validation_loss)
        elif self.schedule is not None:
            self.schedule.step()

    def out_of_patience(self, validation_loss: float, patience: int | None) -> bool:
        """Keep the best weights; whether `patience` epochs went by without a better one."""
        if patience is None:
            return False
        if validation_loss < self.best_loss:
            weights = copy.deepcopy(self.model.state_dict())
            self.best_loss, self.best_weights, self.waited = validation_loss, weights, 0
            return False
        self.waited += 1
        return self.waited >= patience


def _diverged(what: str, rate: float, x: Tensor) -> DivergedError:
    if bool(torch.isfinite(x).all()):
        advice = "The input is finite, so the weights have grown too large. Lower the learning rate."
    else:
        advice = "The input itself holds values that are not finite. Clean the data."
    return DivergedError(
        f"training stopped: {what}, learning rate {rate:g}; expected a finite loss. {advice}"
    )


def fit(
    model: nn.Module,
    splits: Splits,
    *,
    epochs: int = 20,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    seed: int = 0,
    loss: Loss = "cross_entropy",
    optimizer: OptimizerFactory | None = None,
    schedule: ScheduleFactory | None = None,
    patience: int | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> History:
    r"""Train a model in place on `splits.train`, and measure it on `splits.validation` after each epoch.

    Without `optimizer`: stochastic gradient descent with momentum,
    :math:`v \leftarrow \mu v + g + \lambda w,\; w \leftarrow w - \eta v`.

    `optimizer` maps parameters to an optimizer, `schedule` an optimizer to a scheduler that steps once an
    epoch; `loss` is "cross_entropy", "mse" or a function of (outputs, targets) that returns the mean. With
    `patience` training stops after so many epochs without a lower validation loss, and the weights of the
    best epoch are put back. `progress=None` shows a bar only where somebody watches. An interrupt (Ctrl-C)
    ends training and returns the finished epochs. The test part is not touched.

    The run is a function of the model's weights, the data, the settings and `seed` (batch order, dropout):
    two runs on one machine's CPU agree bit for bit, and torch's global random state is left as it was. The
    model ends in evaluation mode.

    Raises DivergedError, which is a ConvcraftError, when a loss is not finite, naming epoch, batch and
    learning rate, and ConvcraftError for unusable settings.

    >>> from convcraft.lab import data, models
    >>> model = models.build("mlp", widths=(64, 10), activation=None, seed=0)
    >>> history = fit(model, data.load("digits"), epochs=2)
    >>> history.epochs, history.stopped, history.validation_accuracy[-1] > 0.8
    (2, 'completed', True)

    Source: Robbins and Monro (1951), A Stochastic Approximation Method; Polyak (1964), Some methods of
    speeding up the convergence of iteration methods.
    Chapter: Convolutional networks.
    """
    check_settings(splits, epochs, batch_size, momentum, weight_decay)
    check_rate(learning_rate)
    if patience is not None:
        check_count("patience", patience, 1)
    if device is not None:
        model.to(device)
    splits = splits.to(device_of(model))
    if optimizer is None:
        chosen: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )
    else:
        chosen = optimizer(model.parameters())
    run = _Run(model, splits, chosen, schedule and schedule(chosen), loss, batch_size)
    history, start = History(), time.perf_counter()
    with forked(stream(seed, "noise"), device_of(model)):
        try:
            _train(run, history, epochs, batch_orders(len(splits.train), seed), patience, progress)
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        finally:
            if run.best_weights is not None:
                model.load_state_dict(run.best_weights)
            model.zero_grad(set_to_none=True)
            model.eval()
    history.seconds = time.perf_counter() - start
    return history


def _train(
    run: _Run,
    history: History,
    epochs: int,
    orders: Iterable[Tensor],
    patience: int | None,
    progress: bool | None,
) -> None:
    batches = math.ceil(len(run.splits.train) / run.batch_size)
    with Bar(epochs * batches, progress, "batch") as bar:
        for number, order in zip(range(1, epochs + 1), orders, strict=False):
            row = run.epoch(number, order, bar)
            history.rows.append(row)
            run.advance_schedule(row.validation_loss)
            if run.out_of_patience(row.validation_loss, patience):
                history.stopped = "patience"
                return
