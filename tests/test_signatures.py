"""Every public function and module with a counterpart in torch takes the same arguments, in its order."""

import importlib
import inspect

import pytest
import torch.nn.functional as F
from torch import nn

#: What ours take at the end beyond torch's.
MORE = {"generator": None}


def parameters(thing):
    """(name, default, kind) of each; torch's modules without arguments say *args, **kwargs."""
    given = list(inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters.values())
    given = [p for p in given if p.name != "self"]
    if {p.kind for p in given} == {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return []
    return [(p.name, p.default, p.kind) for p in given]


def pairs(part):
    """(name, ours, torch's) of a part of the package."""
    module = importlib.import_module(f"convcraft.{part}")
    for name in module.__all__:
        theirs = getattr(F, name, None) if name.islower() else getattr(nn, name, None)
        if theirs is not None and name not in ("Parameter", "derivative"):
            yield name, getattr(module, name), theirs


@pytest.mark.parametrize("part", ["activations", "dropout", "normalization"])
def test_arguments_are_those_of_torch(part):
    compared = 0
    for name, ours, theirs in pairs(part):
        try:
            wanted = parameters(theirs)
        except ValueError:  # a builtin without a signature
            assert name in ("prelu", "gelu", "softplus"), name
            continue
        given = parameters(ours)
        if name == "GroupNorm" and len(given) > len(wanted):  # `bias` is not in every version of torch
            given.pop()
        assert given[: len(wanted)] == wanted, name
        assert {n: default for n, default, _ in given[len(wanted) :]}.items() <= MORE.items(), name
        compared += 1
    assert compared >= {"activations": 30, "dropout": 12, "normalization": 13}[part]
