"""Training many copies of one network at once: every learning rate times every seed of an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits
from convcraft.lab.randomness import batch_orders, check_seed, forked, stream
from convcraft.lab.training.fit import check_rate, check_settings, seeded
from convcraft.lab.training.losses import Loss, is_classification, resolve_loss
from convcraft.lab.training.progress import Bar
from convcraft.lab.training.sweep import Sweep

Weights = dict[str, Tensor]


class _Models:
    """Some copies of the network, their weights stacked along a new first dimension, trained in step.

    `places` holds for each copy its (rate, seed) in the table of results; a copy whose loss is not finite is
    taken out.
    """

    def __init__(
        self, template: nn.Module, weights: Weights, rates: Tensor, places: list[tuple[int, int]]
    ) -> None:
        self.template, self.rates, self.places = template, rates, places
        self.trained = [name for name, p in template.named_parameters() if p.requires_grad]
        self.weights: Weights = {}
        self.velocity: Weights = {}
        self._hold(weights)

    def _hold(self, weights: Weights) -> None:
        self.weights = {n: w.detach().requires_grad_(n in self.trained) for n, w in weights.items()}

    def __len__(self) -> int:
        return len(self.places)

    def outputs(self, x: Tensor, shared: bool) -> Tensor:
        """Outputs (models, n, ...) of all copies; `shared`: the same x for all, else one batch a copy."""

        def forward(weights: Weights, x: Tensor) -> Tensor:
            return functional_call(self.template, weights, (x,))

        return vmap(forward, in_dims=(0, None if shared else 0), randomness="different")(self.weights, x)

    def step(self, losses: Tensor, momentum: float, weight_decay: float) -> None:
        """One step of gradient descent.

        The losses are independent of one another, so the gradient of their sum holds the gradient of each.
        """
        trained = [self.weights[name] for name in self.trained]
        gradients = torch.autograd.grad(losses.sum(), trained, materialize_grads=True)  # zero where unused
        if not self.velocity:
            self._lay_out_like(gradients)
        with torch.no_grad():
            for name, gradient in zip(self.trained, gradients, strict=True):
                weight, velocity = self.weights[name], self.velocity[name]
                if weight_decay:
                    gradient = gradient.add(weight, alpha=weight_decay)
                velocity.mul_(momentum).add_(gradient)
                rates = self.rates.view(-1, *[1] * (weight.ndim - 1))
                weight.addcmul_(velocity, rates, value=-1)

    def _lay_out_like(self, gradients: tuple[Tensor, ...]) -> None:
        """Store weights and velocities in the memory order of the gradients, for speed."""
        for name, gradient in zip(self.trained, gradients, strict=True):
            self.velocity[name] = torch.zeros_like(gradient)
            self.weights[name] = (
                torch.empty_like(gradient).copy_(self.weights[name].detach()).requires_grad_()
            )

    def keep(self, which: Tensor) -> None:
        """Only the copies marked in this mask go on."""
        rows = which.nonzero().flatten()
        self.places = [self.places[row] for row in rows.tolist()]
        self.rates = self.rates[rows]
        self.velocity = {name: v[rows] for name, v in self.velocity.items()}
        self._hold({name: w.detach()[rows] for name, w in self.weights.items()})


def _losses(outputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """The mean loss of each model, from outputs (models, n, ...) and targets (models, n, ...)."""
    if (
        loss == "cross_entropy"
        and outputs.ndim == 3
        and targets.ndim == 2
        and not targets.is_floating_point()
    ):
        return F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)
    return vmap(resolve_loss(loss), randomness="different")(outputs, targets)


def _correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """For each model the number of right answers; nan where accuracy is not defined."""
    if not is_classification(outputs, targets):
        return torch.full((len(outputs),), math.nan, device=outputs.device)
    return (outputs.argmax(-1) == targets).flatten(1).sum(1)


class _Chunk:
    """One chunk of the sweep: trains its copies and writes what it measures into the sweep's tables."""

    def __init__(
        self, models: _Models, splits: Splits, sweep: Sweep, loss: Loss, batch_size: int, bar: Bar
    ) -> None:
        self.models, self.splits, self.sweep, self.loss = models, splits, sweep, loss
        self.batch_size, self.bar = batch_size, bar
        self.orders = {seed: batch_orders(len(splits.train), sweep.seeds[seed]) for _, seed in models.places}

    def epoch(self, number: int, momentum: float, weight_decay: float) -> None:
        """One pass of every copy over its order of the training examples, then the measure on validation."""
        train, models = self.splits.train, self.models
        orders = {seed: next(order).to(train.x.device) for seed, order in self.orders.items()}
        total = torch.zeros(len(models), device=train.x.device)
        models.template.train()
        for first in range(0, len(train), self.batch_size):
            if not len(models):
                return
            rows = torch.stack([orders[seed][first : first + self.batch_size] for _, seed in models.places])
            losses = _losses(models.outputs(train.x[rows], shared=False), train.y[rows], self.loss)
            finite = torch.isfinite(losses.detach())
            whole = bool(finite.all())
            if not whole:
                self.retire(~finite)
            models.step(losses, momentum, weight_decay)
            total += losses.detach() * rows.shape[1]
            if not whole:
                models.keep(finite)
                total = total[finite]
            self.bar.advance()
        self.measure(number, total / len(train))

    @torch.no_grad()
    def measure(self, number: int, train_loss: Tensor) -> None:
        """Validation loss and accuracy of every copy; one whose loss is not finite has diverged."""
        models, part = self.models, self.splits.validation
        models.template.eval()
        loss, right = torch.zeros_like(train_loss), torch.zeros_like(train_loss)
        for x, y in zip(part.x.split(1024), part.y.split(1024), strict=True):
            outputs = models.outputs(x, shared=True)
            targets = y.expand(len(models), *y.shape)
            loss += _losses(outputs, targets, self.loss) * len(y)
            right += _correct(outputs, targets)
        finite = torch.isfinite(loss)
        for row in finite.nonzero().flatten().tolist():
            place = (*models.places[row], number)
            self.sweep.train_loss[place] = float(train_loss[row])
            self.sweep.validation_loss[place] = float(loss[row]) / len(part)
            self.sweep.validation_accuracy[place] = float(right[row]) / len(part)
        if not bool(finite.all()):
            self.retire(~finite)
            models.keep(finite)

    def retire(self, which: Tensor) -> None:
        """Note that these copies diverged, and their weights as they stood."""
        self.store(which)
        for row in which.nonzero().flatten().tolist():
            self.sweep.diverged[self.models.places[row]] = True

    def store(self, which: Tensor) -> None:
        """Copy the weights of these copies into the sweep."""
        places = torch.tensor(self.models.places)[which.cpu()]
        for name, weight in self.models.weights.items():
            self.sweep.weights[name][places[:, 0], places[:, 1]] = weight.detach()[which]


def _stack(
    factory: Callable[[], nn.Module], seeds: Sequence[int], device: torch.device | str | None
) -> list[nn.Module]:
    """The network of every seed, checked to be one architecture without buffers."""
    models = [seeded(factory, seed) for seed in seeds]
    for model in models:
        buffers = [name for name, _ in model.named_buffers()]
        if buffers:
            raise ConvcraftError(
                "factory must make a model without buffers, for fit_many carries weights only; got "
                f"buffers {buffers}. "
                "Train it seed by seed with fit, or use a layer that keeps no running statistics."
            )
        shapes, first = ([(n, p.shape) for n, p in m.named_parameters()] for m in (model, models[0]))
        if not shapes or shapes != first:
            raise ConvcraftError(
                f"factory must make the same parameters at every call; got {len(shapes)} parameters "
                f"{shapes[:3]} after "
                f"{len(first)} parameters {first[:3]}. Let only their values be random."
            )
    return [model if device is None else model.to(device) for model in models]


def _default_chunk(model: nn.Module, entries: int) -> int:
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


def fit_many(
    factory: Callable[[], nn.Module],
    splits: Splits,
    *,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    epochs: int = 10,
    momentum: float = 0.9,
    batch_size: int = 64,
    loss: Loss = "cross_entropy",
    weight_decay: float = 0.0,
    chunk: int | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> Sweep:
    r"""Train the network of a factory at every learning rate from every seed, many at once.

    :math:`v \leftarrow \mu v + g + \lambda w,\; w \leftarrow w - \eta v` for each copy, on stacked weights by
    `torch.func`: the numbers are those of `fit(seeded(factory, s), splits, learning_rate=r, seed=s, ...)` to
    rounding. `factory()` is called once a seed, with torch's generator at that seed; the order of the batches
    is the seed's too, the same for all rates. Only dropout and other noise is drawn for a whole chunk at
    once, and so depends on the grid as well. A run whose loss is not finite is frozen and counts as chance
    accuracy. `chunk` copies are trained at once (None: a measured default).
    The test part is not touched.
    Raises ConvcraftError for a model with buffers, an empty or repeated list of rates or seeds, and unusable
    settings.

    >>> from convcraft.lab import data, models
    >>> sweep = fit_many(lambda: models.MLP((64, 10), activation=None), data.load("digits"),
    ...                  learning_rates=[0.001, 0.1], seeds=range(3), epochs=2)
    >>> sweep.validation_accuracy.shape, sweep.best_rate
    ((2, 3, 2), 0.1)

    Source: Robbins and Monro (1951), A Stochastic Approximation Method.
    Chapter: Activations.
    """
    check_settings(splits, epochs, batch_size, momentum, weight_decay)
    rates, seeds = [float(rate) for rate in learning_rates], [check_seed(seed) for seed in seeds]
    _check_grid(rates, seeds, chunk)
    models = _stack(factory, seeds, device)
    where = next(models[0].parameters()).device
    splits = splits.to(where)
    stacked, _ = stack_module_state(models)
    sweep = Sweep.empty(rates, seeds, epochs, splits.chance, models[0], stacked)
    places = [(rate, seed) for seed in range(len(seeds)) for rate in range(len(rates))]
    chunks = math.ceil(
        len(places) / (chunk or _default_chunk(models[0], batch_size * splits.train.x[0].numel()))
    )
    size = math.ceil(len(places) / chunks)
    batches = math.ceil(len(splits.train) / batch_size)
    with Bar(math.ceil(len(places) / size) * epochs * batches, progress, "batch") as bar:
        for first in range(0, len(places), size):
            some = places[first : first + size]
            weights = {name: w[[seed for _, seed in some]] for name, w in stacked.items()}
            eta = torch.tensor([rates[rate] for rate, _ in some], device=where)
            copies = _Models(models[0], weights, eta, some)
            part = _Chunk(copies, splits, sweep, loss, batch_size, bar)
            with forked(stream(seeds[some[0][1]], "noise"), where):
                for number in range(epochs):
                    part.epoch(number, momentum, weight_decay)
            if len(copies):
                part.store(torch.ones(len(copies), dtype=torch.bool))
    return sweep


def _check_grid(rates: list[float], seeds: list[int], chunk: int | None) -> None:
    for rate in rates:
        check_rate(rate)
    for name, values in (("learning_rates", rates), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ConvcraftError(
                f"{name} must hold at least one value, none twice; got {values}. Leave out the repeats."
            )
    if chunk is not None and chunk < 1:
        raise ConvcraftError(
            f"chunk must be 1 or more, or None; got {chunk}. Pass None for the measured default."
        )
