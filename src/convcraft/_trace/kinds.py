"""What a module or a function is: a layer, an activation, or something that values only pass through."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn.modules import batchnorm, conv, instancenorm

from .._restore import random_state

_IN_ONE_WORD = """
    CELU ELU FReLU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LogSigmoid Mish PReLU RReLU ReLU ReLU6 SELU SiLU
    Sigmoid Softmax Softmin Softplus Softshrink Softsign Swish Tanh Tanhshrink Threshold
"""
#: Activations by the name of their class, in torch.nn or in convcraft.activations.
ACTIVATION_CLASSES = {name: name.lower() for name in _IN_ONE_WORD.split()} | {
    **{"AconC": "acon_c", "DynamicReLU": "dynamic_relu", "LeakyReLU": "leaky_relu"},
    **{"LogSoftmax": "log_softmax", "MetaAconC": "meta_acon_c", "Softmax2d": "softmax"},
}
ACTIVATION_FUNCTIONS = {*ACTIVATION_CLASSES.values(), "clamp", "clamp_min", "sin"}
#: What turns the values of an output layer into probabilities.
READOUTS = {"softmax", "log_softmax", "softmin", "sigmoid", "logsigmoid"}
SUMS = {"add", "iadd", "radd", "sub", "isub", "rsub", "subtract", "index_add", "scatter_add"}
PRODUCTS = set("mul imul rmul multiply div divide truediv itruediv rtruediv true_divide".split())
#: Functions that make a tensor without using the values of another one.
FACTORIES = {"new_tensor", "rand_like", "randint_like", "randn_like"}.union(
    *((name, f"new_{name}", f"{name}_like") for name in ("empty", "full", "ones", "zeros"))
)
#: Functions that keep the scale of what they move, or change it by a constant; so do dropout and pooling.
_MOVING = """
    view view_as reshape reshape_as permute transpose t mt get flatten unflatten squeeze unsqueeze swapaxes swapdims
    movedim moveaxis contiguous clone to type float double half bfloat16 type_as cpu cuda getitem setitem narrow select
    index_select gather scatter chunk split tensor_split unbind cat concat stack pad roll flip expand
    expand_as repeat repeat_interleave masked_fill mean sum neg interpolate pixel_shuffle pixel_unshuffle
"""
PASSING = {*SUMS, *PRODUCTS, *_MOVING.split()}
#: Functions that mix features by weights of their own: what comes before them does not touch what comes after.
WALLS = {
    *("linear", "bilinear", "matmul", "imatmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "einsum"),
    *("scaled_dot_product_attention", "multi_head_attention_forward", "embedding"),
    *(f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)),
}
#: Questions about a tensor, whose answers are not tensors with features.
QUESTIONS = set("size shape dim ndim numel stride device dtype len is_cuda requires_grad".split())


#: The layers of torch by kind; a transposed convolution is a convolution too, and so comes first.
_LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    "transposed": (conv._ConvTransposeNd,),
    "convolution": (conv._ConvNd,),
    "linear": (nn.Linear, nn.Bilinear),
    "recurrent": (nn.RNNBase, nn.RNNCellBase),
    "embedding": (nn.Embedding, nn.EmbeddingBag),
    "attention": (nn.MultiheadAttention,),
    "normalization": (batchnorm._NormBase, instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm),
}


def function_name(target: Any) -> str:
    """Name of a function or method without leading and trailing underscores: `relu_` is "relu"."""
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    return name.strip("_").lower()


def is_in_place(target: Any) -> bool:
    """Whether a function or method changes its first argument: `add_` and `setitem`, not `__add__`."""
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name.endswith("_") and not name.endswith("__") or name.strip("_") == "setitem"


def sources(target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments whose values a call moves or computes with: all, but not where it adds them to others."""
    if function_name(target) not in ("index_add", "scatter_add"):
        return (arguments, keywords)
    return (arguments[0], arguments[3:4], keywords.get("source"), keywords.get("src"))


def activation_name(module: nn.Module) -> str | None:
    """Name of the activation that a module is by its class, or None."""
    for base in type(module).__mro__:
        if base.__name__ in ACTIVATION_CLASSES:
            return ACTIVATION_CLASSES[base.__name__]
    return None


def layer_kind(module: nn.Module) -> str | None:
    """What kind of layer a module is, or None for what is not a layer."""
    if activation_name(module) is not None:
        return None
    for kind, classes in _LAYERS.items():
        if isinstance(module, classes):
            return kind
    if any(module.children()):
        return None
    scales = all(p.dim() <= 1 or p.numel() == max(p.shape) for p in module.parameters(recurse=False))
    if "norm" in type(module).__name__.lower() and scales:
        return "normalization"
    weight = getattr(module, "weight", None)
    matrix = isinstance(weight, Tensor) and weight.dim() >= 2 and weight.numel() > max(weight.shape)
    return "other" if matrix else None


def is_leaf(module: nn.Module) -> bool:
    """Whether a module counts as one operation, whatever is inside."""
    if layer_kind(module) is not None or activation_name(module) is not None:
        return True
    return not any(module.children()) and (is_known(module) or is_elementwise(module))


def is_known(module: nn.Module) -> bool:
    """Whether torch.nn or the library, not the user, defines a module; the lab counts as a user."""
    place = type(module).__module__
    return place.startswith(("torch.nn.", "convcraft.")) and not place.startswith("convcraft.lab.")


@unset_fake_temporarily()
def is_elementwise(module: nn.Module) -> bool:
    """Whether a module without parameters acts on each value alone and is not affine, found by trial."""
    if any(True for _ in module.parameters()):
        return False
    generator = torch.Generator("cpu").manual_seed(0)
    x = torch.randn(4, 3, 8, 8, generator=generator, device="cpu")
    order = torch.randperm(x.numel(), generator=generator, device="cpu")
    try:
        with torch.no_grad(), random_state(module):
            module = copy.deepcopy(module).eval()
            y, shuffled = module(x.clone()), module(x.flatten()[order].view_as(x))
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != x.dtype:
            return False
        alone = torch.allclose(y.flatten()[order], shuffled.flatten(), equal_nan=True)
        x, y = x.flatten().double(), y.flatten().double()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
        return alone and not torch.allclose(y, y.mean() + slope * (x - x.mean()), atol=1e-5)
    except Exception:  # whatever it is, it is not an activation
        return False


def is_plain(module: nn.Module) -> bool:
    """Whether torch.nn or this package computes a module, which thus uses its weight unchanged."""
    methods = [getattr(type(module), name, None) for name in ("forward", "_conv_forward")]
    return all(m is None or m.__module__.startswith(("torch.nn.", "convcraft.")) for m in methods)


def gate(name: str) -> tuple[str, Callable[[Tensor], Tensor]] | None:
    """The activation x g(x) for a gate g, by the name of g."""
    return {"sigmoid": ("silu", F.silu), "hardsigmoid": ("hardswish", F.hardswish)}.get(name)
