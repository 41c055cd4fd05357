"""Training one network: a plain loop that is a function of its seed."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convcraft import penalties
from convcraft._checks import check_count, check_number
from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits
from convcraft.lab.randomness import check_seed, forked, stream
from convcraft.lab.training.budget import Budget, check_data, check_flat, check_strengths, is_flat
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.losses import Loss, device_of, resolve_loss, right_answers, totals
from convcraft.lab.training.progress import Bar

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], Any]
Decayed = Callable[[nn.Module], Iterable[nn.Parameter]]

#: at most so many updates are made before their losses are read and checked
CHECK_EVERY = 100


class DivergedError(ConvcraftError):
    """Raised when training meets a loss that is not finite; the message names epoch, batch and rate.

    `history` holds what was measured before.
    """

    history: History


def seeded(factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The model that a factory makes with torch's global generator seeded by `seed`; the generator is then restored.

    `fit_many` starts from these models, so `fit(seeded(factory, s), splits, seed=s)` trains the same network.

    >>> a, b = (seeded(lambda: nn.Linear(2, 1), seed=4) for _ in range(2))
    >>> torch.equal(a.weight, b.weight)
    True

    Raises ConvcraftError for an unusable seed. Chapter: Convolutional networks.
    """
    with forked(check_seed(seed)):
        return factory()


def sgd(
    model: nn.Module, rate: float, momentum: float, weight_decay: float, l1: float, decayed: Decayed | None
) -> Optimizer:
    """Gradient descent with momentum; weight decay and L1 (a proximal step) act on the `decayed` parameters."""
    chosen = list(model.parameters() if decayed is None else decayed(model))
    names = {id(p) for p in chosen}
    groups = [
        {"params": chosen, "weight_decay": weight_decay, "l1": l1},
        {"params": [p for p in model.parameters() if id(p) not in names], "weight_decay": 0.0, "l1": 0.0},
    ]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=rate, momentum=momentum)
    return penalties.proximal(optimizer) if l1 else optimizer


class _Run:
    """The state of one run: what an update and a measurement read and change."""

    def __init__(
        self, model: nn.Module, splits: Splits, optimizer: Optimizer, schedule: Any, loss: Loss, budget: Budget
    ) -> None:
        self.model, self.splits, self.optimizer, self.schedule = model, splits, optimizer, schedule
        self.function, self.budget = resolve_loss(loss), budget
        #: loss, right answers and batch size of the updates that have not been read yet
        self.unread: list[tuple[Tensor, Tensor | None, int]] = []
        self.update = 0
        self.sums = [0.0, 0.0, 0]
        self.best_loss, self.waited = math.inf, 0
        self.best_weights: dict[str, Tensor] | None = None

    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, rows: Tensor) -> None:
        """One update; its loss stays on the device."""
        train = self.splits.train
        x, y = train.x[rows], train.y[rows]
        outputs = self.model(x)
        loss = self.function(outputs, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        right = right_answers(outputs.detach(), y)
        self.unread.append((loss.detach(), None if right is None else right.sum(), len(rows)))
        self.update += 1

    def read(self, further: Tensor | None = None) -> list[float]:
        """Wait for the device once: add up the losses not read yet, and return `further` as numbers.

        Raises DivergedError for the first loss that is not finite.
        """
        losses = torch.stack([loss.double() for loss, _, _ in self.unread])
        counts = [losses.new_tensor(math.nan) if r is None else r.double() for _, r, _ in self.unread]
        values = torch.cat([losses, torch.stack(counts), losses[:0] if further is None else further]).tolist()
        many, first = len(self.unread), self.update - len(self.unread) + 1
        for number, (loss, right, (_, _, size)) in enumerate(
            zip(values[:many], values[many : 2 * many], self.unread, strict=True)
        ):
            if not math.isfinite(loss):
                where = self.budget.name(first + number)
                raise _diverged(f"the loss is {loss} at {where}", self.rate(), self.splits.train.x)
            self.sums = [self.sums[0] + loss * size, self.sums[1] + right, self.sums[2] + size]
        self.unread = []
        return values[2 * many :]

    def measure(self) -> Epoch:
        """The training loss since the last measurement and the validation loss now; DivergedError unless finite."""
        part = self.splits.validation
        loss, right = self.read(totals(self.model, part, self.function))
        if not math.isfinite(loss):
            where = f"after epoch {math.ceil(self.update / self.budget.per_epoch)}"
            what = f"the validation loss is {loss / len(part)} {where}"
            raise _diverged(what, self.rate(), part.x)
        total, hits, seen = self.sums
        self.sums = [0.0, 0.0, 0]
        self.model.train()
        measured = total / seen, hits / seen, loss / len(part), right / len(part)
        return Epoch(*measured, self.rate(), self.update)

    def out_of_patience(self, validation_loss: float, patience: int | None) -> bool:
        """Keep the best weights; return whether `patience` measurements have passed without improvement."""
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
    return DivergedError(f"training stopped: {what}, learning rate {rate:g}; expected a finite loss. {advice}")


def fit(
    model: nn.Module,
    splits: Splits,
    *,
    epochs: int = 20,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decayed: Decayed | None = None,
    batch_size: int = 64,
    seed: int = 0,
    loss: Loss = "cross_entropy",
    optimizer: OptimizerFactory | None = None,
    schedule: ScheduleFactory | None = None,
    updates: int | None = None,
    evaluate_at: Iterable[int] | None = None,
    patience: int | None = None,
    flat: float | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> History:
    r"""Train a model in place on `splits.train`, and measure it on `splits.validation` after each epoch.

    Without `optimizer`: stochastic gradient descent with momentum,
    :math:`v \leftarrow \mu v + g + \lambda w,\; w \leftarrow w - \eta v`, and with `l1` the proximal step of
    `penalties.proximal` after it. `decayed` selects the parameters of the model to which weight decay and L1 apply
    (None: all).

    `optimizer` maps parameters to an optimizer, `schedule` an optimizer to a scheduler that steps once an epoch
    (ReduceLROnPlateau: with each measurement); `loss` is "cross_entropy", "mse" or a function of (outputs, targets)
    that returns the mean. `updates` is a budget in place of `epochs`; `evaluate_at` names the updates after which to
    measure in place of the ends of epochs (the last one always counts). With `patience`, training stops after that
    many measurements without a lower validation loss, and the best weights are restored. With `flat`, for example
    0.01, it stops once the lowest validation loss has fallen by at most that share within the last quarter of the
    updates (after eight measurements or more). `progress=None` shows a progress bar in a terminal or an interactive
    notebook only. An interrupt (Ctrl-C) ends training and returns what was measured. The test part is not touched.

    The run is a function of the model's weights, the data, the settings and `seed` (batch order, dropout): two runs on
    one machine's CPU agree bit for bit, and torch's global random state is left as it was. The model ends in
    evaluation mode. Losses stay on the device; the host waits for them at each measurement, and at least every 100
    updates.

    Raises DivergedError, which is a ConvcraftError, when a loss is not finite, naming epoch, batch and
    learning rate (the weights are of no use then), and ConvcraftError for unusable settings. Source: Robbins
    and Monro (1951), A Stochastic Approximation Method; Polyak (1964), Some methods of speeding up the
    convergence of iteration methods. Chapter: Convolutional networks.

    >>> from convcraft.lab import data, models
    >>> model = models.build("mlp", widths=(64, 10), activation=None, seed=0)
    >>> history = fit(model, data.load("digits"), epochs=2)
    >>> history.epochs, history.stopped, history.validation_accuracy[-1] > 0.8
    (2, 'completed', True)
    """
    check_data(splits, epochs, batch_size)
    check_strengths(momentum, weight_decay, l1)
    check_number("fit", "learning_rate", learning_rate, 0, above=True)
    check_flat(flat)
    if patience is not None:
        check_count("fit", "patience", patience)
    if optimizer is not None and (l1 or decayed is not None):
        raise ConvcraftError(
            f"l1 and decayed belong to fit's own optimizer; got l1={l1}, decayed={decayed} and optimizer. "
            "Use penalties.proximal and parameter groups in yours."
        )
    budget = Budget.of(len(splits.train), batch_size, epochs, updates, evaluate_at)
    if device is not None:
        model.to(device)
    splits = splits.to(device_of(model))
    if optimizer is None:
        chosen = sgd(model, learning_rate, momentum, weight_decay, l1, decayed)
    else:
        chosen = optimizer(model.parameters())
    run = _Run(model, splits, chosen, schedule and schedule(chosen), loss, budget)
    history, start = History(), time.perf_counter()
    with forked(stream(seed, "noise"), device_of(model)):
        try:
            _train(run, history, seed, patience, flat, progress)
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        except DivergedError as error:
            history.stopped, error.history = "diverged", history
            raise
        finally:
            if run.best_weights is not None:
                model.load_state_dict(run.best_weights)
            model.zero_grad(set_to_none=True)
            model.eval()
    history.seconds = time.perf_counter() - start
    return history


def _train(
    run: _Run, history: History, seed: int, patience: int | None, flat: float | None, progress: bool | None
) -> None:
    budget, train = run.budget, run.splits.train
    waits = isinstance(run.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)  # for the validation loss
    run.model.train()
    with Bar(budget.updates, progress, "batch") as bar:
        for rows in budget.batches(len(train), seed):
            run.step(rows.to(train.x.device))
            bar.advance()
            if run.update in budget.looks:
                history.rows.append(row := run.measure())
                bar.say(f"validation loss {row.validation_loss:.4f}, accuracy {row.validation_accuracy:.4f}")
            elif len(run.unread) == CHECK_EVERY:
                run.read()
            if run.schedule is not None and not waits and run.update % budget.per_epoch == 0:
                run.schedule.step()
            if run.update not in budget.looks:
                continue
            if waits:
                run.schedule.step(row.validation_loss)
            if run.out_of_patience(row.validation_loss, patience):
                history.stopped = "patience"
                return
            if flat is not None and is_flat(history.validation_loss, history.updates, flat):
                history.stopped = "flat"
                return
