"""Proof without a GPU: every layer and function runs on fake CUDA and on meta tensors, and nowhere else.

A part of the package enters by a line in `PARTS`: a function that gives a case for each public name. Under
`FakeTensorMode` a CPU build of torch runs the forward pass of CUDA tensors, without gradients; the meta
device runs both passes. A dispatch mode fails where an operation makes a tensor on another device than that
of the input, and notes where the host would wait for the device.
"""

import importlib
import inspect
from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

IMAGES = (4, 8, 6, 6)


class OneDevice(TorchDispatchMode):
    """Fails where an operation makes a tensor elsewhere; `waits` names what would make the host wait."""

    WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "item", "equal", "masked_select", "_unique2")

    def __init__(self, device):
        super().__init__()
        self.device, self.waits = device, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.WAITS:
            self.waits.append(name)
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                assert value.device.type == self.device, f"{name} makes a tensor on {value.device}"
        return result


def case(call, *shapes):
    """(what gives a function or module for a device, shapes of its inputs, by default a batch of images).

    `call` is the function or module itself, or with an argument `device` what makes it.
    """
    makes = "device" in inspect.signature(call).parameters
    return (call if makes else lambda device: call), shapes or (IMAGES,)


def kind(module, *arguments, shape=IMAGES, **keywords):
    """The case of a class of modules that takes `device`."""
    return case(lambda device: module(*arguments, **keywords, device=device), shape)


def placed(layer, device):
    """The module with empty parameters and buffers on a device."""
    for part in layer.modules():
        for store in (part._parameters, part._buffers):
            for name, value in store.items():
                if value is not None and value.device.type != device:
                    moved = torch.empty(value.shape, dtype=value.dtype, device=device)
                    store[name] = nn.Parameter(moved) if isinstance(value, nn.Parameter) else moved
    return layer


def activations():
    from convcraft import activations as A

    cases = {}
    for name in A.__all__:
        if name != "Parameter" and (hasattr(nn.functional, name) or hasattr(nn, name)):
            cases[name] = case(getattr(A, name) if name.islower() else getattr(A, name)())
    for name in ("softmax", "log_softmax", "Softmax", "LogSoftmax"):
        cases[name] = case(partial(getattr(A, name), dim=1) if name.islower() else getattr(A, name)(1))
    for name in ("PReLU", "AconC", "MetaAconC", "DynamicReLU", "FReLU"):
        cases[name] = kind(getattr(A, name), 8)
    return cases | {
        "Swish": kind(A.Swish, num_parameters=8),
        "acon_c": case(partial(A.acon_c, p1=1.0, p2=0.25, beta=2.0)),
        "prelu": case(A.prelu, IMAGES, (8,)),
        "swish": case(A.swish),
    }


def dropout():
    from convcraft import dropout as D

    shapes = {"1d": IMAGES[:3], "3d": (*IMAGES, 3)}
    cases = {}
    for name in set(D.__all__) - {"Prediction", "mc_predict"}:
        call = getattr(D, name)
        call = partial(call, p=0.3, training=True) if name.islower() else call(0.3)
        cases[name] = case(call, shapes.get(name[-2:], IMAGES))
    return cases


def normalization():
    from convcraft import normalization as N

    shapes = {"1d": IMAGES[:3], "2d": IMAGES, "3d": (*IMAGES, 3)}
    cases = {
        f"{name}{n}": kind(getattr(N, f"{name}{n}"), 8, affine=True, track_running_stats=True, shape=shape)
        for name in ("BatchNorm", "InstanceNorm")
        for n, shape in shapes.items()
    }
    return cases | {
        "LayerNorm": kind(N.LayerNorm, 6),
        "GroupNorm": kind(N.GroupNorm, 2, 8),
        "SyncBatchNorm": kind(N.SyncBatchNorm, 8),
        "batch_norm": case(lambda x, w, b: N.batch_norm(x, None, None, w, b, True), IMAGES, (8,), (8,)),
        "instance_norm": case(lambda x, w, b: N.instance_norm(x, None, None, w, b), IMAGES, (8,), (8,)),
        "group_norm": case(lambda x, w, b: N.group_norm(x, 2, w, b), IMAGES, (8,), (8,)),
        "layer_norm": case(lambda x, w, b: N.layer_norm(x, (6,), w, b), IMAGES, (6,), (6,)),
    }


#: What gives the cases of a part, and the public names without one: they hold facts or work on whole models.
PARTS = {
    "activations": (activations, "Catalog Entry Moments Parameter Source catalog derivative get moments"),
    "dropout": (dropout, "Prediction mc_predict"),
    "normalization": (normalization, "fold_batch_norm freeze_batch_norm recalibrate_batch_norm"),
}


def run_on_fake_cuda(make, shapes):
    """Forward, without gradients; what the host waits for.

    Fake CUDA has no random initialization: a module is made on the meta device and moved without its values.
    It has no `copy_` either, by which torch's batch norm updates running statistics: those run in eval mode.
    """
    made = make("meta")
    with FakeTensorMode(), torch.no_grad():
        made = placed(made, "cuda") if isinstance(made, nn.Module) else made
        if any("running_mean" in name for name, _ in getattr(made, "named_buffers", dict)()):
            made.eval()
        inputs = [torch.empty(shape, device="cuda") for shape in shapes]
        with OneDevice("cuda") as mode:
            made(*inputs)
    return mode.waits


def run_on_meta(make, shapes):
    """Construction, forward and backward; what the host waits for."""
    with OneDevice("meta") as mode:
        inputs = [torch.empty(shape, device="meta", requires_grad=True) for shape in shapes]
        results = tree_leaves(make("meta")(*inputs))
        torch.autograd.backward([v.sum() for v in results if isinstance(v, torch.Tensor) and v.requires_grad])
    return mode.waits


@pytest.mark.parametrize("run", [run_on_fake_cuda, run_on_meta])
@pytest.mark.parametrize("part", PARTS)
def test_every_public_name_runs_on_the_device_of_its_input_and_never_waits(part, run):
    failures = {}
    for name, (make, shapes) in PARTS[part][0]().items():
        try:
            waits = run(make, shapes)
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {str(error)[:200]}"
        else:
            if waits:
                failures[name] = f"the host waits: {waits}"
    assert not failures, failures


@pytest.mark.parametrize("part", PARTS)
def test_no_public_name_is_forgotten(part):
    cases, without = PARTS[part]
    assert set(importlib.import_module(f"convcraft.{part}").__all__) == {*cases(), *without.split()}


def test_the_mode_sees_another_device_and_a_wait():
    with OneDevice("meta"), pytest.raises(AssertionError, match="makes a tensor on cpu"):
        torch.ones(2)
    with OneDevice("cpu") as mode:
        torch.ones(2).sum().item()
    assert mode.waits == ["_local_scalar_dense"]
