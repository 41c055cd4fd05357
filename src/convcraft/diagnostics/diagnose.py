"""Examine a model on a batch, as a physician would: look everywhere, judge, and leave no mark."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from .._batch import resolve_loss, take, taker
from .._restore import preserved, random_state
from ..errors import ConvcraftError, unknown
from ._gather import gather
from ._watch import check_model
from .findings import find_all, names
from .report import Report

__all__ = ["diagnose"]


def diagnose(
    model: nn.Module,
    batch: Any,
    loss: Callable[..., Any] | str | None = None,
    optimizer: Any = None,
    *,
    batches: int = 16,
    ignore: Iterable[str] = (),
    seed: int = 0,
) -> Report:
    r"""Look for everything that commonly keeps a network from training, and say what to do about it.

    The model runs forward and backward on each batch in training mode, on the first one in evaluation mode
    too, and the optimizer takes one step: all on a deep copy (or, for what cannot be copied, on the model
    itself, which is then restored). Weights, buffers, gradients, mode, optimizer and random state are the
    same afterwards, bit by bit. The limits stand, with reasons, in `convcraft.diagnostics.thresholds`.

    Args:
        model: any module; its forward may do what it likes.
        batch: what a training step gets: a tensor, ``(inputs, target)``, ``((first, second), target)``, a
            mapping of keyword arguments, or a loader of these. With a loss the last part is the target.
        loss: called as ``loss(output, target)``, returns a scalar; or one of the names "cross_entropy",
            "mse", "nll", "binary_cross_entropy_with_logits". Without one there is no gradient to look at,
            unless the model returns its loss.
        optimizer: of the model's parameters; without one there are no update ratios.
        batches: look at most at so many of a loader's batches.
        ignore: names of kinds of finding to leave out.
        seed: of the random numbers (dropout, a loader's order) while the model is examined.

    Raises:
        ConvcraftError: when model is no module or is compiled, the batch holds no tensor, lies on another
            device or does not fit the model, the loader yields nothing, the loss is no scalar, or a name in
            ignore is not known.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5), nn.Softmax(1))
        >>> report = diagnose(model, (torch.randn(64, 20), torch.arange(64) % 5), nn.CrossEntropyLoss())
        >>> [(finding.severity, finding.name) for finding in report.findings]
        [('severe', 'softmax-before-cross-entropy')]

    Source: Karpathy (2019), A Recipe for Training Neural Networks, for the habit; the source of each limit
    stands beside it. Chapter 10.
    """
    check_model(model, "diagnose")
    if not isinstance(batches, int) or isinstance(batches, bool) or batches < 1:
        raise ConvcraftError(
            f"diagnose: batches must be an integer of 1 or more, got {batches!r}; leave it out for 16"
        )
    left_out = set(ignore)
    for name in left_out:
        if name not in names():
            raise unknown("kind of finding", name, names())
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        raise ConvcraftError(
            "diagnose: model must be initialized, got a lazy module that has not run; call it once on a batch"
        )
    function = resolve_loss("diagnose", loss)
    with random_state(model, batch, seed):
        found = take("diagnose", batch, batches, model, taker(loss))
        device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        pair = _copies(model, optimizer)
        working, own = pair if pair is not None else (model, None)
        with nullcontext() if pair is not None else preserved(model):
            evidence = gather(model, working, found, function, optimizer, own, seed)
        if pair is None and optimizer is not None:
            evidence.skipped.append("the update ratios (model or optimizer cannot be copied)")
        findings = tuple(f for f in find_all(evidence) if f.name not in left_out)
    return Report(
        type(model).__name__,
        sum(p.numel() for p in model.parameters()),
        evidence.layers,
        findings,
        loss=evidence.loss,
        uniform_loss=evidence.uniform_loss,
        batches=len(found),
        examples=evidence.examples,
        device=str(device),
        skipped=tuple(dict.fromkeys(evidence.skipped)),
        torch=torch.__version__,
    )


def _copies(model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any] | None:
    """A deep copy of a model and of the optimizer of its parameters; None where there can be none."""
    memo: dict[int, Any] = {}
    try:
        return copy.deepcopy(model, memo), copy.deepcopy(optimizer, memo)
    except Exception:  # whatever a module holds that cannot be copied
        return None
