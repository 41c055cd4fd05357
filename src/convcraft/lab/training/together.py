"""Training many copies of one network at once, each with a seed, data and strengths of its own."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convcraft._checks import check_all_known, check_number
from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Split, Splits
from convcraft.lab.randomness import batch_orders, check_seed
from convcraft.lab.training.budget import Budget, check_data, check_flat, check_strengths, is_flat
from convcraft.lab.training.fit import Decayed, DivergedError, fit, seeded
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.losses import Loss, evaluating, resolve_loss
from convcraft.lab.training.progress import Bar
from convcraft.lab.training.stacked import STRENGTHS, Stacked, correct_of, drawing_layers, losses_of

DEFAULTS = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "l1": 0.0}
SplitsOfSeed = Splits | Callable[[int], Splits]


@dataclass
class Trained:
    """A network that `fit_together` trained, in evaluation mode: its seed, strengths and history."""

    seed: int
    strengths: dict[str, float]
    model: nn.Module = field(repr=False)
    history: History

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite; the weights are of no use then."""
        return self.history.stopped == "diverged"


def fit_together(
    factory: Callable[[], nn.Module],
    splits: SplitsOfSeed,
    copies: Sequence[Mapping[str, float]],
    *,
    epochs: int = 10,
    batch_size: int = 64,
    loss: Loss = "cross_entropy",
    decayed: Decayed | None = None,
    updates: int | None = None,
    evaluate_at: Iterable[int] | None = None,
    flat: float | None = None,
    chunk: int | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> list[Trained]:
    """Train a copy of a factory's network for each of `copies`, many at once on stacked weights.

    Each of `copies` is a dictionary with a "seed" and, where they differ from the defaults of `fit`,
    "learning_rate", "momentum", "weight_decay" and "l1". `splits` is one data set, or a function from the seed
    to the data of that seed (such as its own training subset), all of the same sizes. The other settings are
    those of `fit`, and the numbers are, up to rounding, those of `fit(seeded(factory, s), splits, seed=s, ...)`,
    including batch order, running statistics, dropout masks and augmentations. `chunk` copies are trained at
    once (None: a measured default).

    Networks that `torch.func.vmap` cannot handle (control flow that depends on values), or that draw random
    numbers outside layers without parameters, are trained one by one by `fit`; `reason_against` says why.

    Returns the trained networks in the order of `copies`; one whose loss was not finite has its history up to that
    point, with `stopped == "diverged"`. The test part is not touched. Raises ConvcraftError for a factory whose
    networks differ in architecture, an unknown or repeated entry of `copies`, data of different sizes, and unusable
    settings. Source: Robbins and Monro (1951), A Stochastic Approximation Method. Chapter: Activations.

    >>> from convcraft.lab import data, models
    >>> trained = fit_together(
    ...     lambda: models.MLP((64, 10), activation=None), data.load("digits"),
    ...     [{"seed": s, "weight_decay": d} for s in range(2) for d in (0.0, 0.1)], epochs=2)
    >>> [round(one.history.validation_accuracy[-1], 1) for one in trained]
    [0.9, 0.9, 0.9, 0.9]
    """
    chosen = _checked(copies)
    seeds = list(dict.fromkeys(seed for seed, _ in chosen))
    data = {seed: splits(seed) if callable(splits) else splits for seed in seeds}
    for part in data.values():
        check_data(part, epochs, batch_size)
    check_flat(flat)
    if chunk is not None and chunk < 1:
        raise ConvcraftError(f"chunk must be 1 or more, or None; got {chunk}. Pass None for the measured default.")
    models = {seed: seeded(factory, seed) for seed in seeds}
    first = models[seeds[0]]
    for model in models.values():
        shapes, others = (
            [(n, t.shape) for n, t in (*m.named_parameters(), *m.named_buffers())] for m in (model, first)
        )
        if next(model.parameters(), None) is None or shapes != others:
            raise ConvcraftError(
                f"factory must make the same parameters at every call; got {len(shapes)} parameters "
                f"{shapes[:3]} after {len(others)} parameters {others[:3]}. Only their values may be random."
            )
        if device is not None:
            model.to(device)
    where = next(first.parameters()).device
    data = {seed: part.to(where) for seed, part in data.items()}
    train = data[seeds[0]].train
    budget = Budget.of(len(train), batch_size, epochs, updates, evaluate_at)
    bar = Bar(len(chosen) * budget.updates, progress, "batch")
    if reason_against(first, train, loss):
        settings: dict[str, Any] = {"epochs": epochs, "updates": updates, "evaluate_at": budget.looks}
        settings |= {"batch_size": batch_size, "loss": loss, "decayed": decayed, "flat": flat}
        with bar:
            return [_alone(copy.deepcopy(models[s]), data[s], s, own, settings, bar) for s, own in chosen]
    drawing = drawing_layers(first, lambda model: _trial_loss(model, train, loss)) or []
    decays = first.parameters() if decayed is None else decayed(first)
    identities = {id(p) for p in decays}
    names = {name for name, p in first.named_parameters() if id(p) in identities}
    size = chunk or default_chunk(first, batch_size * train.x[0].numel())
    size = math.ceil(len(chosen) / math.ceil(len(chosen) / size)) if chosen else 1
    found = []
    with bar:
        for start in range(0, len(chosen), size):
            some = chosen[start : start + size]
            own_seeds = [seed for seed, _ in some]
            mine, strengths = [models[s] for s in own_seeds], [own for _, own in some]
            stacked = Stacked(mine, strengths, own_seeds, names, drawing, loss)
            trained = _Chunk(stacked, [data[s] for s in own_seeds], own_seeds, budget, flat, bar)
            trained.train()
            for (seed, own), history, state in zip(some, trained.histories, trained.states, strict=True):
                model = copy.deepcopy(first)
                model.load_state_dict(state, strict=False)
                found.append(Trained(seed, own, model.eval(), history))
    return found


def reason_against(model: nn.Module, train: Split, loss: Loss = "cross_entropy") -> str:
    """Why copies of a network cannot be trained together; "" where they can.

    >>> split = Split(torch.rand(4, 8), torch.tensor([0, 1, 0, 1]))
    >>> reason_against(nn.Linear(8, 2), split)
    ''
    """
    resolve_loss(loss)
    few = Split(train.x[:4], train.y[:4])
    drawing = drawing_layers(model, lambda model: _trial_loss(model, few, loss))
    if drawing is None:
        return "random numbers are drawn in its loss, or in a layer that has parameters or buffers"
    own = [dict(DEFAULTS)] * 2
    try:
        stacked = Stacked([model, model], own, [0, 1], set(), drawing, loss)
        stacked.template.train()
        twice = [t.unsqueeze(0).expand(2, *t.shape) for t in (few.x, few.y)]
        stacked.update(twice[0], twice[1])
        with evaluating(stacked.template):
            stacked.outputs(few.x, shared=True)
    except (RuntimeError, TypeError, AttributeError, IndexError, ValueError) as error:
        return f"torch.func cannot handle its network or loss ({str(error).splitlines()[0][:120]})"
    return ""


def _trial_loss(model: nn.Module, split: Split, loss: Loss) -> Tensor:
    with torch.no_grad():
        return resolve_loss(loss)(model(split.x[:4]), split.y[:4])


def _alone(
    model: nn.Module, data: Splits, seed: int, own: dict[str, float], settings: dict[str, Any], bar: Bar
) -> Trained:
    try:
        history = fit(model, data, seed=seed, progress=False, **{**settings, **own})
    except DivergedError as stopped:
        history = stopped.history
    bar.advance(max(settings["evaluate_at"], default=0))
    return Trained(seed, own, model, history)


def _checked(copies: Sequence[Mapping[str, float]]) -> list[tuple[int, dict[str, float]]]:
    """(seed, strengths) of each copy."""
    chosen = []
    for one in copies:
        check_all_known("entry of copies", one, ("seed", *STRENGTHS))
        own = DEFAULTS | {name: float(value) for name, value in one.items() if name != "seed"}
        check_number("fit", "learning_rate", own["learning_rate"], 0, above=True)
        check_strengths(own["momentum"], own["weight_decay"], own["l1"])
        chosen.append((check_seed(one.get("seed", 0)), own))
    if not chosen:
        raise ConvcraftError("copies must hold at least one dictionary; got none. Pass for example [{'seed': 0}].")
    return chosen


def default_chunk(model: nn.Module, entries: int) -> int:
    """How many copies to train at once, from measurements; `entries` is the size of one batch of input.

    Convolutions: 16 where a batch is as small as 64 images of 8x8, fewer for larger ones, to stay in the
    cache. Other networks: as many as keep all the weights together within 2 million. A GPU has room for more.
    """
    weights = sum(p.numel() for p in model.parameters())
    if next(model.parameters()).is_cuda:
        return max(4, min(256, 2**26 // entries))
    if any(isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) for module in model.modules()):
        return max(4, min(16, 2**16 // entries))
    return max(4, min(64, 2_000_000 // weights))


def _stack(tensors: Sequence[Tensor], name: str) -> Tensor:
    """(copies, n, ...), or (n, ...) where all copies have the same tensor."""
    if all(t is tensors[0] for t in tensors):
        return tensors[0]
    if any(t.shape != tensors[0].shape for t in tensors):
        shapes = sorted({tuple(t.shape) for t in tensors})
        raise ConvcraftError(
            f"splits must return parts of the same size for every seed; got {name} of shapes {shapes}. "
            "Train those seeds in separate calls."
        )
    return torch.stack(list(tensors))


class _Chunk:
    """The training of one chunk of copies: what each measured, and its weights at the end."""

    def __init__(
        self, stacked: Stacked, data: list[Splits], seeds: list[int], budget: Budget, flat: float | None, bar: Bar
    ) -> None:
        self.stacked, self.budget, self.flat, self.bar = stacked, budget, flat, bar
        self.histories = [History() for _ in data]
        self.states: list[dict[str, Tensor]] = [{} for _ in data]
        #: places in the chunk of the copies that are still being trained
        self.places = list(range(len(data)))
        self.parts = {
            name: _stack([getattr(getattr(d, name[0]), name[1]) for d in data], " ".join(name))
            for name in (("train", "x"), ("train", "y"), ("validation", "x"), ("validation", "y"))
        }
        self.shared = {n: self.parts[n] is getattr(getattr(data[0], n[0]), n[1]) for n in self.parts}
        self.examples = len(data[0].train), len(data[0].validation)
        distinct = list(dict.fromkeys(seeds))
        self.orders = [batch_orders(self.examples[0], seed) for seed in distinct]
        self.which = torch.tensor([distinct.index(seed) for seed in seeds])  # place of each copy's order

    def train(self) -> None:
        device = self.parts["train", "x"].device
        sums, seen = torch.zeros(2, len(self.places), dtype=torch.float64, device=device), 0
        self.stacked.template.train()
        for update, rows in enumerate(self._rows(), start=1):
            rows = rows[self.which].to(device)  # (copies, n)
            batch = self._batch("x", rows), self._batch("y", rows)
            losses, right = self.stacked.update(*batch, to_come=self.budget.updates - update)
            sums += torch.stack([losses * rows.shape[1], right])
            seen += rows.shape[1]
            self.bar.advance(len(self.places))
            if update in self.budget.looks:
                self._look(update, sums / seen)
                if not self.places:
                    return
                sums, seen = torch.zeros_like(sums[:, : len(self.places)]), 0
        self._finish(range(len(self.places)), "completed")

    def _rows(self) -> Iterator[Tensor]:
        """The rows (seeds, n) of each update."""
        count = 0
        while count < self.budget.updates:
            orders = torch.stack([next(order) for order in self.orders])  # (seeds, examples)
            for rows in orders.split(self.budget.batch_size, 1)[: self.budget.updates - count]:
                count += 1
                yield rows

    def _batch(self, name: str, rows: Tensor) -> Tensor:
        """The examples (copies, n, ...) at the rows (copies, n) of each copy."""
        part = self.parts["train", name]
        if not self.shared["train", name]:
            rows = rows + self.examples[0] * torch.arange(len(rows), device=rows.device).unsqueeze(1)
            part = part.flatten(0, 1)  # (copies * examples, ...)
        return part.index_select(0, rows.flatten()).view(*rows.shape, *part.shape[1:])

    def _look(self, update: int, trained: Tensor) -> None:
        """Measure all copies, and end those that diverged or are flat.

        `trained` holds mean loss and accuracy since the last measurement, (2, copies).
        """
        columns = torch.cat([trained, self._validate()]).tolist()  # (4, copies)
        rates = self.stacked.strengths["learning_rate"].tolist()
        done: dict[str, list[int]] = {"diverged": [], "flat": []}
        for row, place in enumerate(self.places):
            loss, accuracy, of_validation, validation_accuracy = (c[row] for c in columns)
            history = self.histories[place]
            if not (math.isfinite(loss) and math.isfinite(of_validation)):
                done["diverged"].append(row)
                continue
            history.rows.append(Epoch(loss, accuracy, of_validation, validation_accuracy, rates[row], update))
            if self.flat is not None and is_flat(history.validation_loss, history.updates, self.flat):
                done["flat"].append(row)
        for why, rows in done.items():
            self._finish(rows, why)
        gone = {row for rows in done.values() for row in rows}
        if gone:
            self._keep([row for row in range(len(self.places)) if row not in gone])

    def _validate(self) -> Tensor:
        """Mean loss and share of right answers of each copy, (2, copies)."""
        x, y = (self.parts["validation", name] for name in "xy")
        shared, copies = self.shared["validation", "x"], len(self.places)
        sums = torch.zeros(2, copies, dtype=torch.float64, device=x.device)
        with evaluating(self.stacked.template):
            for first in range(0, self.examples[1], 1024):
                some = slice(first, first + 1024)
                outputs = self.stacked.outputs(x[some] if shared else x[:, some], shared)
                targets = y[some] if self.shared["validation", "y"] else y[:, some]
                if self.shared["validation", "y"]:
                    targets = targets.expand(copies, *targets.shape)
                sums[0] += losses_of(outputs, targets, self.stacked.loss).double() * targets.shape[1]
                sums[1] += correct_of(outputs, targets)
        return sums / self.examples[1]

    def _finish(self, rows: Iterable[int], why: str) -> None:
        for row in rows:
            place = self.places[row]
            self.histories[place].stopped = why
            self.states[place] = self.stacked.model(row)

    def _keep(self, rows: list[int]) -> None:
        self.places = [self.places[row] for row in rows]
        self.which = self.which[rows]
        self.stacked.keep(rows)
        for name, part in self.parts.items():
            if not self.shared[name]:
                self.parts[name] = part[rows]
