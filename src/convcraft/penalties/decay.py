"""Which parameters to decay, and at which rate each layer learns."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList

from .._checks import check_module, check_number
from .._trace import kinds
from ..errors import ConvcraftError, unknown
from ._checks import parameters, strength

#: Keys of a parameter group that are not strengths: 0 in the second group would not switch them off.
_SETTINGS = ("params", "betas", "momentum", "dampening", "alpha", "rho", "eps")
#: Classes such as LlamaRMSNorm, BatchNormAct2d and GlobalResponseNorm, but not WeightNorm or NormedLinear.
_NORMALIZATION = re.compile(r"(?<!Weight)(?<!Spectral)Norm(alization)?(Act|Tlu|\d?d|[A-Z]?\d)*$")
_MATRICES = ("linear", "convolution", "transposed", "recurrent", "embedding", "attention")

Spare = str | nn.Module | Tensor | type[nn.Module]


def decay_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    spare: Spare | Iterable[Spare] = (),
    layer_decay: float | None = None,
    lr: float | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    r"""Split the parameters of a model into those to decay and those to leave alone.

    Formula: the first group has weight decay :math:`\lambda`, the second 0. Spared are biases (names with "bias"),
    normalizations, learned activations, the lengths g of weight norm, and scales: whatever has one dimension or none
    once axes of size 1 are removed, except for the weights of linear, convolution, recurrent, embedding and attention
    layers. So are parameters that the model itself exempts: those with an attribute `_no_weight_decay`, and those
    named by the method `no_weight_decay()` of the model or one of its modules (or, in part, by
    `no_weight_decay_keywords()`). A parameter shared by several modules is spared when any of them spares it.

    With `layer_decay`, the parameters of layer d of D have the rate :math:`\eta \gamma^{D - d}`, in two
    groups for each layer. Layers are counted in the order of registration: what comes before the repeated
    blocks is layer 0, each block one more, what follows them the last. A model without repeated blocks
    counts every layer with a matrix or a kernel.

    `SGD` and `Adam` add :math:`\lambda w` to the gradient, and Adam then divides it by the size of the
    weight's gradients; `AdamW` subtracts :math:`\eta \lambda w` apart from the gradient, the same share of
    every weight. For plain SGD the two are the same.

    Args:
        model: any module.
        weight_decay: :math:`\lambda` of the first group, not negative.
        spare: further parameters without decay: names, patterns (``"*.gamma"``), prefixes of names,
            parameters, modules or classes of modules; one or several.
        layer_decay: :math:`\gamma` in (0, 1], with `lr`: the rate of each layer relative to the next.
        lr: :math:`\eta`, the rate of the last layer; only with `layer_decay`.
        options: further strengths of the first group, each 0 in the second: `l1=1e-4` for `proximal`.

    Returns two parameter groups for any torch optimizer, or with `layer_decay` up to two for each layer; the order
    within each is that of the model. Raises ConvcraftError when model is not a module or has no parameters, a strength
    or a rate is out of range or not a number, `spare` names nothing in the model, or an option is not a strength.
    Source: Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization; He, Zhang, Zhang, Zhang, Xie and Li
    (2019), Bag of Tricks for Image Classification with Convolutional Neural Networks; for the rates, Bao, Dong, Piao
    and Wei (2022), BEiT: BERT Pre-Training of Image Transformers. Chapter: L1 and L2 penalties.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.PReLU())
    >>> groups = decay_groups(model, 1e-2)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.01), (4, 0.0)]
    >>> optimizer = torch.optim.AdamW(groups, lr=1e-3)
    """
    check_module("decay_groups", model, advice="pass the model, whose names tell biases from weights")
    everything = parameters("decay_groups", model)
    strengths = {"weight_decay": strength("decay_groups", "weight_decay", weight_decay)}
    for key, value in options.items():
        if key in _SETTINGS:
            raise ConvcraftError(
                f"decay_groups: options must be strengths of penalties, 0 in the second group, got {key!r}; "
                f"pass {key} to the optimizer"
            )
        strengths[key] = strength("decay_groups", key, value)
    if (layer_decay is None) != (lr is None):
        raise ConvcraftError(
            f"decay_groups: lr and layer_decay must be given together, got lr={lr!r} and "
            f"layer_decay={layer_decay!r}; pass a single rate to the optimizer"
        )
    spared = {id(p) for p in (*_by_kind(model), *_by_declaration(model), *_by_request(model, spare))}

    def split(members: list[Tensor], **rate: float) -> list[dict[str, Any]]:
        decayed = [p for p in members if id(p) not in spared]
        rest = [p for p in members if id(p) in spared]
        return [{"params": decayed, **rate, **strengths}, {"params": rest, **rate, **dict.fromkeys(strengths, 0.0)}]

    if layer_decay is None:
        return split(everything)
    gamma = check_number("decay_groups", "layer_decay", layer_decay, 0, 1, above=True, advice="1 is one rate")
    eta = check_number("decay_groups", "lr", lr, 0, above=True)
    depths = _depths(model)
    last = max(depths.values())
    groups = []
    for depth in range(last + 1):
        members = [p for p in everything if depths[id(p)] == depth]
        groups += split(members, lr=eta * gamma ** (last - depth))
    return [group for group in groups if group["params"]]


def _owned(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor, bool]]:
    """Each parameter with the module it belongs to, its name there, and whether it is weight norm's g.

    A parametrized weight is kept in `owner.parametrizations.weight`, and is the owner's all the same.
    """
    for prefix, module in model.named_modules():
        for name, p in module.named_parameters(recurse=False):
            if isinstance(module, ParametrizationList):
                path, _, tensor = f".{prefix}".rpartition(".parametrizations.")
                length = name == "original0" and any(isinstance(part, _WeightNorm) for part in module)
                yield model.get_submodule(path[1:]), tensor, p, length
            else:
                length = name.endswith("_g") and hasattr(module, f"{name[:-2]}_v")
                yield module, name, p, length


def _by_kind(model: nn.Module) -> Iterator[Tensor]:
    """Biases, scales, normalizations and learned activations."""
    for module in model.modules():
        if kinds.layer_kind(module) == "normalization" or kinds.activation_name(module) is not None:
            yield from module.parameters()
        elif _NORMALIZATION.search(type(module).__name__):
            yield from module.parameters(recurse=False)
    for owner, name, p, length in _owned(model):
        matrix = kinds.layer_kind(owner) in _MATRICES or (p.dim() == 2 and name.endswith("weight"))
        scale = p.dim() < 2 or (p.numel() == max(p.shape) and not matrix)
        if length or "bias" in name or scale:
            yield p


def _by_declaration(model: nn.Module) -> Iterator[Tensor]:
    """What the model exempts itself."""
    for module in model.modules():
        declared = (getattr(module, f"no_weight_decay{part}", ()) for part in ("", "_keywords"))
        whole, parts = (tuple(found() if callable(found) else found) for found in declared)
        for name, p in module.named_parameters(remove_duplicate=False):
            exempt = name in whole or any(part in name for part in parts)
            if exempt or getattr(p, "_no_weight_decay", False):
                yield p


def _by_request(model: nn.Module, spare: Any) -> Iterator[Tensor]:
    """What the argument `spare` names; each of its entries has to name something."""
    single = isinstance(spare, str | nn.Module | Tensor | type) or not isinstance(spare, Iterable)
    named = dict(model.named_parameters(remove_duplicate=False))
    own = {id(p) for p in named.values()}
    for entry in [spare] if single else spare:
        if isinstance(entry, str):
            found = [p for n, p in named.items() if fnmatchcase(n, entry) or n.startswith(f"{entry}.")]
            if not found:
                raise unknown("parameter in decay_groups' argument spare:", entry, named)
        elif isinstance(entry, Tensor):
            found = [entry]  # type: ignore[list-item]
        elif isinstance(entry, nn.Module):
            found = list(entry.parameters())
        elif isinstance(entry, type) and issubclass(entry, nn.Module):
            found = [p for part in model.modules() if isinstance(part, entry) for p in part.parameters()]
        else:
            raise ConvcraftError(
                "decay_groups: spare must hold names, parameters, modules or classes of modules, got "
                f"{entry!r}; use for example spare=['*.gamma', nn.Embedding]"
            )
        if not found or not own.issuperset(map(id, found)):
            got = entry.__name__ if isinstance(entry, type) else type(entry).__name__
            raise ConvcraftError(
                f"decay_groups: spare must name parameters of the model, got a {got} that has none of them; "
                "leave it out"
            )
        yield from found


def _depths(model: nn.Module) -> dict[int, int]:
    """The layer of each parameter, counted from 0."""
    listed = [block for block in _blocks(model) if any(True for _ in block.parameters())]
    often = Counter(map(type, listed))
    blocks = [block for block in listed if often[type(block)] > 1 and any(True for _ in block.children())]
    place = {id(p): i for i, block in enumerate(blocks, 1) for p in block.parameters()}
    order = list(map(id, model.parameters()))
    found, depth = {}, 0
    if not blocks:  # every matrix or kernel begins a layer, to which the biases and scales after it belong
        spared = set(map(id, _by_kind(model)))
        matrices = [key for key in order if key not in spared]
        for key in order:
            depth += key in matrices[1:]
            found[key] = depth
        return found
    last = max(i for i, key in enumerate(order) if key in place)
    for i, key in enumerate(order):
        depth = place.get(key, depth) if i <= last else len(blocks) + 1
        found[key] = depth
    return found


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of lists and sequences, where these are nested the innermost."""
    plain = (nn.ModuleList, nn.Sequential)
    for child in module.children():
        if type(child) in plain or type(module) not in plain:
            yield from _blocks(child)
        else:
            yield child
