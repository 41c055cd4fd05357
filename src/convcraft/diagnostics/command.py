"""`python -m convcraft diagnose MODULE:FACTORY`: the report on a model of the user's own."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._batch import is_batch
from .._factory import call, load
from .._trace import tensors
from ..errors import ConvcraftError
from .diagnose import diagnose

_HELP = """\
FACTORY is a function without required arguments, or a module, in MODULE (a dotted name, or the path of a
.py file). It returns (model, batch), (model, batch, loss) or (model, batch, loss, optimizer), everything
that convcraft.diagnostics.diagnose takes; or the model alone, and --input gives the shape of one example
of a batch of random numbers.

exit status: 0 nothing severe, 1 something severe, 2 misuse
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0 without a severe finding, 1 with one. Misuse raises ConvcraftError, which is 2."""
    parser = argparse.ArgumentParser(
        prog="python -m convcraft diagnose",
        description="Look for what keeps a network from training.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("factory", metavar="MODULE:FACTORY", help="what makes the model")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--batch-size", type=int, metavar="N", help="look at the first N examples of a batch")
    parser.add_argument("--batches", type=int, default=16, metavar="N", help="at most N batches of a loader (16)")
    parser.add_argument("--input", metavar="SHAPE", help="shape of one example, for example 3,32,32")
    parser.add_argument("--loss", metavar="NAME", help="a loss by name where FACTORY returns none")
    parser.add_argument("--ignore", nargs="+", default=(), metavar="NAME", help="kinds of finding to leave out")
    options = parser.parse_args(list(arguments or ()))
    if options.batch_size is not None and options.batch_size < 1:
        raise ConvcraftError(f"diagnose: --batch-size must be 1 or more, got {options.batch_size}")
    made = load("diagnose", options.factory)
    if callable(made) and not isinstance(made, nn.Module):
        made = call("diagnose", options.factory, made)
    parts = tuple(made) if isinstance(made, tuple) else (made,)
    if not 1 <= len(parts) <= 4 or not isinstance(parts[0], nn.Module):
        raise ConvcraftError(
            "diagnose: FACTORY must return a model, or (model, batch[, loss[, optimizer]]), got "
            f"{', '.join(type(part).__name__ for part in parts) or 'nothing'}"
        )
    model, batch, loss, optimizer = parts + (None,) * (4 - len(parts))
    if batch is None:
        batch = _random(model, options.input, options.batch_size or 64)
    elif options.batch_size is not None:
        batch = _smaller(batch, options.batch_size)
    loss = options.loss if loss is None else loss
    report = diagnose(model, batch, loss, optimizer, batches=options.batches, ignore=options.ignore)
    print(report.to_json() if options.json else report)
    return 1 if report.severe else 0


def _random(model: nn.Module, shape: str | None, examples: int) -> Tensor:
    """Standard normal numbers of the requested shape, always the same."""
    if shape is None:
        raise ConvcraftError(
            "diagnose: FACTORY must return (model, batch), or --input must give the shape of an example, "
            "got a model alone; pass for example --input 3,32,32"
        )
    try:
        sizes = [int(part) for part in shape.replace("x", ",").split(",")]
        if min(sizes) < 1:
            raise ValueError(shape)
    except ValueError:
        raise ConvcraftError(
            f"diagnose: --input must be whole numbers of 1 or more, with commas, got {shape!r}; for example 3,32,32"
        ) from None
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return torch.randn(examples, *sizes, generator=torch.Generator().manual_seed(0)).to(device)


def _smaller(data: Any, n: int) -> Any:
    """The first examples of a batch, or of each batch of a loader."""
    if not is_batch(data):
        return (_smaller(item, n) for item in data)
    full = next((t.shape[0] for t in tensors(data) if t.dim()), 0)

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[:n] if value.dim() and value.shape[0] == full else value
        if isinstance(value, dict):
            return {key: cut(item) for key, item in value.items()}
        return type(value)(cut(item) for item in value) if isinstance(value, list | tuple) else value

    return cut(data)
