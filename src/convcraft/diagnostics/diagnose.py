"""Examine a model on a batch, as a physician would: look everywhere, judge, and leave no mark.

The order is fixed: prepare, run in evaluation and in training mode, make a step, judge, restore.
"""

import contextlib
import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .._batch import Batch, Loss, LossFunction, loss_value, own_loss, resolve_loss, run, short, take, taker
from .._checks import check_all_known, check_count, check_optimizer
from .._restore import buffers, preserved, random_state, seed_all
from .._trace import kinds, successors, tensors
from ..errors import ConvcraftError
from . import thresholds
from .evidence import Evidence, Examiner, GradientFacts, LossFacts, StepFacts
from .findings import find_all, names
from .hooks import Watcher, check_model
from .loss_calls import LossWatch
from .modes import compare_modes
from .nonfinite import NonFinite, locate, not_finite
from .report import Report


def diagnose(
    model: nn.Module,
    batch: Any,
    loss: Loss = None,
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
    same afterwards, bit for bit. The limits and their reasons are in `convcraft.diagnostics.thresholds`.

    Args:
        model: any module; its forward may do what it likes.
        batch: what a training step gets: a tensor, ``(inputs, target)``, ``(first, second, target)``,
            ``((first, second), target)``, a mapping of keyword arguments, or a loader of these. With a loss,
            the last part is the target; in a mapping, the entry "target", "label", "y" or one of their plurals.
        loss: called as ``loss(output, target)``, returns a scalar; or one of the names "cross_entropy", "mse", "nll",
            "binary_cross_entropy_with_logits". Without one the gradients cannot be judged, unless the model returns
            its loss (a scalar, something with a `loss`, or a tuple that begins with one).
        optimizer: one over the model's parameters; without one no step is judged.
        batches: how many of a loader's batches to look at, at most.
        ignore: names of kinds of finding to leave out.
        seed: for the random numbers (dropout, a loader's order) while the model is examined.

    Raises ConvcraftError when model is not a module or holds compiled ones, optimizer is not an optimizer,
    the batch holds no tensor, is on another device or does not fit the model, the loader yields nothing,
    the loss does not accept the output or is not a scalar, or a name in ignore is unknown. Source: Karpathy
    (2019), A Recipe for Training Neural Networks, for the habit. Chapter: Combining.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5), nn.Softmax(1))
    >>> report = diagnose(model, (torch.randn(64, 20), torch.arange(64) % 5), nn.CrossEntropyLoss())
    >>> [(finding.severity, finding.name) for finding in report.findings]
    [('severe', 'softmax-before-cross-entropy')]
    """
    check_model(model, "diagnose")
    check_count("diagnose", "batches", batches)
    check_all_known("kind of finding", left_out := set(ignore), names())
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        raise ConvcraftError(
            "diagnose: model must be initialized, got a lazy module that has not run; call it once on a batch"
        )
    if optimizer is not None:
        check_optimizer("diagnose", optimizer)
    function = resolve_loss("diagnose", loss)
    with random_state(model, batch, seed):
        found = take("diagnose", batch, batches, model, taker(loss))
        evidence = Evidence(model, optimizer, batch_size=found[0].examples)
        evidence.examples = sum(item.examples for item in found)
        counts = (getattr(module, "num_batches_tracked", None) for module in model.modules())
        counted = any(isinstance(count, Tensor) and int(count) > 0 for count in counts)
        evidence.trained = counted or bool(getattr(optimizer, "state", None))
        memo: dict[int, Any] = {}
        try:
            working, stepping = copy.deepcopy(model, memo), copy.deepcopy(optimizer, memo)
        except Exception:  # whatever a module holds that cannot be copied
            working, stepping = model, optimizer
        with preserved(model, optimizer) if working is model else contextlib.nullcontext():
            _run_in_evaluation(evidence, working, found[0])
            _run_in_training(evidence, working, found, function, stepping, seed)
        with buffers(model):  # a parametrization may change its buffers when it is read
            findings = tuple(f for f in find_all(evidence) if f.name not in left_out)
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
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


def _run_in_evaluation(evidence: Evidence, model: nn.Module, batch: Batch) -> None:
    """Compare both modes, and trace the graph; leaves the model in its own training mode."""
    modes = {module: module.training for module in model.modules()}
    try:
        evidence.modes = compare_modes(model, batch)
    except Exception as error:  # the model's own code runs here; the pass in training mode will report it
        evidence.skipped.append(f"the outputs in both modes ({type(error).__name__}: {short(error)})")
    try:
        evidence.graph = successors(model, batch.kwargs or batch.args)
    except Exception as error:  # here too
        evidence.skipped.append(f"what follows which layer ({type(error).__name__}: {short(error)})")
    model.train()
    evidence.frozen = {name for name, module in model.named_modules() if not module.training}
    if modes[model]:  # modules in evaluation mode inside a model in training mode stay in it
        for module, training in modes.items():
            module.training = module.training and training


def _run_in_training(
    evidence: Evidence, model: nn.Module, batches: list[Batch], loss: LossFunction, optimizer: Any, seed: int
) -> None:
    """Forward and backward on every batch, and one step of the optimizer after the last."""
    examiner = Examiner(model, tensors([(batch.args, batch.kwargs) for batch in batches]))
    sizes = {name: _norm(p) for name, p in model.named_parameters() if p.requires_grad}
    squares: dict[str, float] = {}
    given: set[str] = set()
    losses: list[float] = []
    try:
        with Watcher(model, examiner, every_function=True) as watcher, torch.enable_grad():
            for i, batch in enumerate(batches):
                seed_all(model, seed + i)
                model.zero_grad(set_to_none=True)
                value = _forward(evidence, model, batch, loss, examiner)
                if value is not None:
                    losses.append(float(value.detach()))
                    if value.requires_grad:
                        value.backward()
                    for name, p in model.named_parameters():
                        if p.grad is not None:
                            grad = p.grad.coalesce().values() if p.grad.is_sparse else p.grad
                            squares[name] = squares.get(name, 0.0) + _norm(grad) ** 2
                            given.add(name)
            sound = all(math.isfinite(number) for number in (*losses, *squares.values()))
            cosine = _step(evidence, model, optimizer) if given and optimizer is not None and sound else None
    finally:
        examiner.detach()
    if cosine is not None:
        with torch.no_grad(), contextlib.suppress(Exception):  # a step may leave a model that does not run
            after = float(_loss_again(model, batches[-1], loss, seed + len(batches) - 1))
            evidence.stepped = LossFacts(losses[-1], after, cosine)
    evidence.layers = tuple(examiner.statistics())
    evidence.unfed = watcher.unfed - {layer.name for layer in evidence.layers if layer.seen}
    evidence.inputs, evidence.norms = list(examiner.inputs.values()), list(examiner.norms.values())
    evidence.in_time, evidence.attention = examiner.in_time, examiner.attention()
    evidence.loss = sum(losses) / len(losses) if losses else None
    if losses:
        evidence.gradients = [
            GradientFacts(name, name in given, math.sqrt(squares.get(name, 0.0)), size) for name, size in sizes.items()
        ]
    evidence.nonfinite = _nonfinite(evidence, model, batches[0])
    known = [c for c in evidence.loss_calls if c.name in ("cross_entropy", "nll_loss") and c.uniform]
    learned = known and known[0].value < thresholds.LEARNED * (known[0].uniform or 0.0)
    evidence.trained = evidence.trained or bool(learned)
    silent = {f.name for f in evidence.gradients if f.given and f.norm == 0}
    if silent and sound and any(f.norm for f in evidence.gradients):
        evidence.revived = _revived(model, batches[0], loss, silent, seed)


def _forward(
    evidence: Evidence, model: nn.Module, batch: Batch, loss: LossFunction, examiner: Examiner
) -> Tensor | None:
    """The loss of a batch; None if there is none."""
    watch = LossWatch()
    with watch:
        try:
            output = run("diagnose", model, batch)
        except ConvcraftError as error:
            cause = error.__cause__
            if not isinstance(cause, ValueError) or "more than 1 value per channel" not in str(cause):
                raise
            evidence.failure = str(cause)
            for module in model.modules():
                if "norm" in type(module).__name__.lower():
                    module.eval()
            output = batch(model)
        watch.pair = (output, batch.target)
        value = loss_value("diagnose", output, batch, loss) if loss is not None else own_loss(output)
    evidence.loss_calls += watch.calls
    evidence.broadcast = evidence.broadcast or watch.broadcast
    evidence.output = evidence.output or examiner.output_facts(output, batch.target)
    if value is None or (loss is None and not value.requires_grad):
        evidence.skipped.append("gradients, loss and update ratios (no loss was given)")
        return None
    if not value.requires_grad:
        evidence.skipped.append("the gradients (the loss does not depend on a parameter by a gradient)")
    if len(watch.calls) == 1 and watch.calls[0].value > 0:
        negative = abs(float(value.detach()) + watch.calls[0].value) <= 1e-4 * watch.calls[0].value
        binary = watch.calls[0].name.startswith("binary")  # which a generator may maximize on purpose
        evidence.negated = evidence.negated or (negative and not binary)
    return value


def _loss_again(model: nn.Module, batch: Batch, loss: LossFunction, seed: int) -> Tensor:
    """The loss on a batch with the same random numbers as before."""
    seed_all(model, seed)
    output = batch(model)
    value = loss_value("diagnose", output, batch, loss) if loss is not None else own_loss(output)
    assert value is not None  # there was one before
    return value


def _step(evidence: Evidence, model: nn.Module, optimizer: Any) -> float | None:
    """One step, what it did to each weight, and the cosine between it and the gradient; None without one."""
    trained = [(n, p) for n, p in model.named_parameters() if p.grad is not None and not p.grad.is_sparse]
    old = {name: p.detach().clone() for name, p in trained}
    slopes = {name: p.grad.detach().clone() for name, p in trained if p.grad is not None}
    try:
        optimizer.step()
    except Exception as error:  # an optimizer of another kind, one that needs a closure for example
        evidence.skipped.append(f"the update ratios ({type(error).__name__}: {short(error)})")
        return None
    along = size = length = 0.0
    for name, p in trained:
        change, slope = p.detach() - old[name], slopes[name]
        along += float((change.conj() * slope).sum(dtype=torch.promote_types(p.dtype, torch.float32)).real)
        moved = _norm(change)
        size, length = size + moved**2, length + _norm(slope) ** 2
        if p.dim() > 1:
            tokens = kinds.layer_kind(model.get_submodule(name.rpartition(".")[0])) is None
            rows = p.squeeze().shape[:1].numel() if tokens else p.shape[0]  # positions are 1 x length x width
            evidence.steps.append(StepFacts(name, moved, _norm(old[name]), math.sqrt(rows)))
    return along / math.sqrt(size * length) if size and length else 0.0


def _revived(model: nn.Module, batch: Batch, loss: LossFunction, silent: set[str], seed: int) -> set[str]:
    """Which parameters without a gradient get one once the others have moved a little, twice."""
    alive: set[str] = set()
    with torch.enable_grad(), contextlib.suppress(Exception):  # the model's own code runs here
        for _ in range(3):
            model.zero_grad(set_to_none=True)
            _loss_again(model, batch, loss, seed).backward()
            found = [(n, p, p.grad) for n, p in model.named_parameters() if p.grad is not None]
            for name, parameter, slope in found:
                if slope.is_sparse or not _norm(slope):
                    continue
                alive.add(name)
                with torch.no_grad():
                    parameter.sub_(slope * (1e-2 * max(_norm(parameter), 1.0) / _norm(slope)))
    return alive & silent


def _norm(values: Tensor) -> float:
    values = values.detach()
    return float(torch.linalg.vector_norm(values.to(torch.promote_types(values.dtype, torch.float32))))


def _nonfinite(evidence: Evidence, model: nn.Module, batch: Batch) -> NonFinite | None:
    """The first place where a value is not finite: data, weights, forward pass, loss, gradients."""
    for tensor in tensors((batch.args, batch.kwargs)):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return NonFinite("", "the batch", not_finite(tensor))
    for name, parameter in evidence.model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return NonFinite(name.rpartition(".")[0], f"the parameter {name}", not_finite(parameter))
    bad = [layer for layer in evidence.layers if not layer.finite]
    wrong_loss = evidence.loss is not None and not math.isfinite(evidence.loss)
    if bad or wrong_loss:
        with contextlib.suppress(Exception):
            if (found := locate(model, batch)) is not None:
                return found
        return NonFinite(bad[0].name, "the output", "NaN") if bad else NonFinite("", "the loss", "NaN")
    for layer in reversed(evidence.layers):
        if layer.gradient is not None and not math.isfinite(layer.gradient):
            return NonFinite(layer.name, "the gradient at the output", "NaN or infinity")
    for fact in evidence.gradients:
        if not math.isfinite(fact.norm):
            return NonFinite(fact.name.rpartition(".")[0], f"the gradient of {fact.name}", "NaN or infinity")
    return None
