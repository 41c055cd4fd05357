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


def augmentation():
    from convcraft import augmentation as A

    images, each, labels = (4, 3, 6, 6), (4,), (4, 5)
    functions = {
        "affine": ((lambda x, m: A.affine(x, m + torch.eye(2, 3, device=x.device))), images, (4, 2, 3)),
        "brightness": (A.brightness, images, each),
        "contrast": (A.contrast, images, each),
        "cutmix": (A.cutmix, images, labels),
        "erase": ((lambda x, a: A.erase(x, a, a, a, a, value="noise")), images, each),
        "horizontal_flip": ((lambda x, a: A.horizontal_flip(x, a > 0)), images, each),
        "mixup": (A.mixup, images, labels),
        "noise": (A.noise, images, each),
        "rotate": (A.rotate, images, each),
        "scale": (A.scale, images, each),
        "shear": (A.shear, images, each),
        "shift": ((lambda x, a: A.shift(x, a, 1.5, fill=0.5)), images, each),
        "vertical_flip": ((lambda x, a: A.vertical_flip(x, a > 0)), images, each),
    }
    modules = {
        "Compose": A.Compose(A.RandomHorizontalFlip(), A.RandomRotation(9), A.RandomErasing((2, 3))),
        "RandomAffine": A.RandomAffine(9, shift=2, scale=0.1, shear=9, horizontal_flip=0.5, p=0.5),
        "RandomBrightness": A.RandomBrightness(0.5, clip=(0.0, 1.0), p=0.5),
        "RandomContrast": A.RandomContrast(0.5),
        "RandomErasing": A.RandomErasing(area=(0.1, 0.2)),
        "RandomHorizontalFlip": A.RandomHorizontalFlip(),
        "RandomNoise": A.RandomNoise((0.1, 0.2)),
        "RandomRotation": A.RandomRotation(9),
        "RandomScale": A.RandomScale(0.1),
        "RandomShear": A.RandomShear(9),
        "RandomShift": A.RandomShift(2),
        "RandomVerticalFlip": A.RandomVerticalFlip(),
    }
    mixing = {"CutMix": A.CutMix(p=0.5), "Mixup": A.Mixup(p=0.5)}
    cases = {name: case(*given) for name, given in functions.items()}
    cases |= {name: case(module, images) for name, module in modules.items()}
    return cases | {name: case(module, images, labels) for name, module in mixing.items()}


def penalties():
    from convcraft import penalties as P

    weights = ((8, 4), (8,))

    def step(w, b):
        parameters = [nn.Parameter(w.detach().clone()), nn.Parameter(b.detach().clone())]
        for p in parameters:
            p.grad = torch.ones_like(p)
        P.proximal(torch.optim.SGD(parameters, lr=0.1, momentum=0.9), l1=0.1, group=0.1).step()

    return {
        "elastic_net": case(lambda w, b: P.elastic_net([w, b], 0.1, 0.2), *weights),
        "group_lasso": case(lambda w, b: P.group_lasso([w, b]), *weights),
        "group_soft_threshold_": case(
            lambda w, b: P.group_soft_threshold_([w.detach(), b.detach()], 0.1), *weights
        ),
        "l1_penalty": case(lambda w, b: P.l1_penalty([w, b]), *weights),
        "l2_penalty": case(lambda w, b: P.l2_penalty([w, b]), *weights),
        "max_norm_": case(lambda w: P.max_norm_(w.detach(), 1.0), weights[0]),
        "proximal": case(step, *weights),
        "soft_threshold_": case(lambda w, b: P.soft_threshold_([w.detach(), b.detach()], 0.1), *weights),
    }


def initialization():
    from convcraft import initialization as I

    more = {"constant_": (0.5,), "sparse_": (0.5,)}
    names = [name for name in I.__all__ if name.endswith("_") and name != "lsuv_"]
    cases = {}
    for name in names:
        fill = partial(lambda w, f, more: f(w.detach(), *more), f=getattr(I, name), more=more.get(name, ()))
        cases[name] = case(fill, (8, 6) if name in ("eye_", "sparse_") else (8, 6, 3, 3))
    return cases


#: torch's own grid_sample, uniform_, randperm and qr do not run on fake CUDA tensors: on the meta device alone.
ON_META = {
    *("kaiming_uniform_", "lecun_uniform_", "xavier_uniform_", "uniform_", "trunc_normal_"),
    *("orthogonal_", "delta_orthogonal_", "sparse_"),
    *("affine", "horizontal_flip", "rotate", "scale", "shear", "shift", "vertical_flip", "Compose"),
    *("RandomAffine", "RandomHorizontalFlip", "RandomRotation", "RandomScale", "RandomShear", "RandomShift"),
    "RandomVerticalFlip",
}
#: What gives the cases of a part, and the public names without one: they hold facts or work on whole models.
PARTS = {
    "augmentation": (augmentation, "Augmentation"),
    "initialization": (
        initialization,
        "Assignment Assignments Fans FixedPoint LsuvStep LsuvSteps VarianceMap calculate_gain fans initialize "
        "lsuv_ variance_map",
    ),
    "penalties": (penalties, "Sparsity SparsityRow decay_groups sparsity"),
    "activations": (activations, "Catalog Entry Moments Parameter Source catalog derivative get moments"),
    "dropout": (dropout, "Prediction mc_predict"),
    "normalization": (
        normalization,
        "FoldingReport fold_batch_norm folding_report freeze_batch_norm recalibrate_batch_norm "
        "unfreeze_batch_norm",
    ),
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
        if run is run_on_fake_cuda and name in ON_META:
            continue
        try:
            waits = run(make, shapes)
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {str(error)[:200]}"
        else:
            if waits:
                failures[name] = f"the host waits: {waits}"
    assert not failures, "\n".join(map(": ".join, failures.items()))


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
