"""Small networks by the dozen: copies of one architecture trained by Adam in one loop."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from convcraft._checks import check_count, check_number
from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Split
from convcraft.lab.randomness import batch_orders, forked, stream
from convcraft.lab.training.budget import check_flat, is_flat
from convcraft.lab.training.fit import seeded
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.layers import compute_across
from convcraft.lab.training.losses import Loss, resolve_loss
from convcraft.lab.training.together import Trained


def adam_together(
    factory: Callable[[], nn.Module],
    train: Split | Sequence[Split],
    validation: Split | Sequence[Split],
    copies: Sequence[Mapping[str, float]],
    *,
    learning_rate: float,
    loss: Loss = "mse",
    batch_size: int = 256,
    updates: int = 1000,
    look_every: int = 50,
    flat: float | None = 0.01,
) -> list[Trained]:
    r"""Train copies of a network by Adam; each ends with the weights of its lowest validation loss.

    Each of `copies` has a "seed" (initialization and batch order), and may have "l2", the strength :math:`\lambda` of
    a penalty :math:`\tfrac{\lambda}{2} \lVert w \rVert^2` on all its parameters. `train` and `validation` are one
    split for all copies, or one for each, of equal length. All copies are measured every `look_every` updates; with
    `flat`, training stops when every copy's validation loss has stopped falling, as in `fit`. A copy with a loss that
    is not finite does not stop the others; its history says "diverged". Raises ConvcraftError for networks with
    buffers, splits of unequal length, and unusable settings. Source: Kingma and Ba (2015), Adam: A Method for
    Stochastic Optimization. Chapter: Recommenders.

    >>> part = Split(torch.randn(64, 3), torch.zeros(64, 1))
    >>> found = adam_together(lambda: nn.Linear(3, 1), part, part, [{"seed": 0}, {"seed": 1, "l2": 1.0}],
    ...                       learning_rate=0.01, updates=100, batch_size=32)
    >>> [one.history.validation_loss[-1] < 1 for one in found]
    [True, True]
    """
    check_number("fit", "learning_rate", learning_rate, 0, above=True)
    check_flat(flat)
    for name, value in (("updates", updates), ("look_every", look_every), ("batch_size", batch_size)):
        check_count("adam_together", name, value)
    seeds, n = [int(one["seed"]) for one in copies], len(copies)
    models = [seeded(factory, seed) for seed in seeds]
    if not models or any(True for _ in models[0].buffers()):
        raise ConvcraftError(
            f"adam_together needs one copy or more of a network without buffers; got {n} copies of "
            f"{type(models[0]).__name__ if models else 'nothing'}. Train it with fit."
        )
    parts = [list(p) if not isinstance(p, Split) else [p] * n for p in (train, validation)]
    if any(len(p) != n or len({len(split) for split in p}) != 1 for p in parts):
        raise ConvcraftError("train and validation must be one split, or one of equal length for each copy.")
    xs, ys = (torch.stack([getattr(split, name) for split in parts[1]]) for name in "xy")  # (copies, n, ...) each
    function, template = resolve_loss(loss), copy.deepcopy(models[0])
    if any(isinstance(layer, nn.Conv2d) for layer in template.modules()):
        compute_across(template)  # half the time of vmap's convolutions; linear layers alone lose by it
    weights = {k: v.detach().clone().requires_grad_() for k, v in stack_module_state(models)[0].items()}
    strengths = torch.tensor([float(one.get("l2", 0.0)) for one in copies])
    losses = vmap(lambda w, x, y: function(functional_call(template, w, (x,)), y), randomness="different")  # (copies,)
    best = {name: value.detach().clone() for name, value in weights.items()}
    lowest, histories = torch.full((n,), math.inf), [History() for _ in copies]
    optimizer = torch.optim.Adam(weights.values(), lr=learning_rate, fused=True)
    orders = [batch_orders(len(split), seed) for split, seed in zip(parts[0], seeds, strict=True)]
    rows, place, running = torch.stack([next(order) for order in orders]), 0, torch.zeros(n)
    penalized = bool(strengths.any())
    same = all(split is parts[0][0] for split in parts[0])
    with forked(stream(seeds[0], "noise")):
        for update in range(1, updates + 1):
            chosen = rows[:, place : place + batch_size]  # (copies, batch)
            place += batch_size
            if place >= rows.shape[1]:
                rows, place = torch.stack([next(order) for order in orders]), 0
            if same:
                x, y = parts[0][0].x[chosen], parts[0][0].y[chosen]
            else:
                pairs = list(zip(parts[0], chosen, strict=True))
                x, y = (torch.stack([getattr(part, name)[few] for part, few in pairs]) for name in "xy")
            each = losses(weights, x, y)
            total = each.sum()
            if penalized:
                squares = sum(w.square().reshape(n, -1).sum(1) for w in weights.values())  # (copies,)
                total = total + 0.5 * strengths @ squares
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            running += each.detach()
            if update % look_every and update < updates:
                continue
            template.eval()
            with torch.no_grad():
                now = losses(weights, xs, ys)
                better = now < lowest
                lowest = torch.where(better, now, lowest)
                for name, value in weights.items():
                    best[name][better] = value.detach()[better]
            template.train()
            since = update - (histories[0].updates[-1] if histories[0].rows else 0)
            for history, one, seen in zip(histories, now.tolist(), (running / since).tolist(), strict=True):
                history.rows.append(Epoch(seen, math.nan, one, math.nan, learning_rate, update))
                if not math.isfinite(one):
                    history.stopped = "diverged"
            running = torch.zeros(n)
            whole = [history for history in histories if history.stopped != "diverged"]
            if flat is not None and all(is_flat(h.validation_loss, h.updates, flat) for h in whole):
                break
    found = []
    for k, (model, history) in enumerate(zip(models, histories, strict=True)):
        model.load_state_dict({name: value[k] for name, value in best.items()})
        if history.stopped != "diverged" and update < updates:
            history.stopped = "flat"
        own = {"learning_rate": learning_rate, "l2": float(strengths[k])}
        found.append(Trained(seeds[k], own, model.eval(), history))
    return found
