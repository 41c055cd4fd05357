"""Which parameters are decayed, whatever library a model comes from, and the rates of its layers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from convcraft.penalties import decay_groups


def decayed(model, *args, **keywords):
    names = {id(p): name for name, p in model.named_parameters()}
    groups = decay_groups(model, 0.1, *args, **keywords)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(names)
    return {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}


class Scale(nn.Module):
    """A scale (and a shift) of any shape, under the names that libraries give them."""

    def __init__(self, *shape, names=("gamma", "beta")):
        super().__init__()
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.ones(shape)))


class LayerNorm2d(Scale):
    def __init__(self, *shape):
        super().__init__(*shape, names=("weight", "bias"))


class NormedLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))


class Mixer(nn.Module):
    """A state-space layer whose authors mark what is not decayed."""

    def __init__(self):
        super().__init__()
        self.A_log, self.B = nn.Parameter(torch.zeros(8, 4)), nn.Parameter(torch.zeros(8, 4))
        self.A_log._no_weight_decay = True


class Block(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(d), nn.MultiheadAttention(d, 2)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.ls1, self.mlp = (
            Scale(d, names=("gamma",)),
            nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, d)),
        )


class Transformer(nn.Module):
    def __init__(self, depth=3, d=8):
        super().__init__()
        self.cls_token, self.pos_embed = (
            nn.Parameter(torch.zeros(1, 1, d)),
            nn.Parameter(torch.zeros(1, 5, d)),
        )
        self.patch_embed = nn.Conv2d(3, d, 4, 4)
        self.blocks = nn.ModuleList(Block(d) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 1)

    def no_weight_decay(self):
        return {"pos_embed", "cls_token", "dist_token"}


class Residual(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(d, d, 3, bias=False), nn.BatchNorm2d(d)
        self.down = nn.Sequential(nn.Conv2d(d, d, 1), nn.BatchNorm2d(d))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.layer1, self.layer2 = (nn.Sequential(Residual(4), Residual(4)) for _ in range(2))
        self.fc = nn.Linear(4, 10)


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 1)
    )


def test_scales_of_any_shape_are_spared_and_matrices_of_one_row_are_not():
    shapes = [(6,), (6, 1, 1), (1, 6, 1, 1), (1, 1, 1, 6), (1, 6), (1, 1), ()]
    model = nn.ModuleList([Scale(*shape) for shape in shapes] + [LayerNorm2d(1, 6, 1, 1)])
    assert decayed(model) == set()
    rows = nn.ModuleList(
        [nn.Linear(6, 1), nn.Linear(1, 6), nn.Conv2d(1, 1, 3), nn.Conv2d(6, 1, 1), nn.LSTM(1, 1)]
    )
    assert decayed(rows) == {name for name, _ in rows.named_parameters() if "bias" not in name}
    assert decayed(Scale(6, 5)) == {"gamma", "beta"}
    row = nn.Module()  # of an own kind, with one output
    row.weight = nn.Parameter(torch.ones(1, 6))
    assert decayed(row) == {"weight"}


def test_normalizations_are_spared_whatever_their_shape_and_library():
    class GroupNormAct(Scale):
        pass

    class BatchNormAct2d(Scale):
        pass

    class Standardized(nn.LayerNorm):  # known by what it is, not by its name
        pass

    layers = [nn.LayerNorm((3, 4, 5)), Standardized((3, 4, 5)), LayerNorm2d(3, 4, 5)]
    model = nn.ModuleList([*layers, GroupNormAct(2, 4), BatchNormAct2d(2, 4)])
    assert decayed(model) == set()
    assert decayed(NormedLinear()) == {"weight"}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_decays_the_direction_and_spares_the_length():
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(8, 1), nn.Linear(1, 8)]
    model = nn.ModuleList(map(parametrizations.weight_norm, layers))
    assert decayed(model) == {f"{i}.parametrizations.weight.original1" for i in range(3)}
    old = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    assert decayed(old) == {"weight_v"}
    assert decayed(parametrizations.spectral_norm(nn.Linear(3, 1))) == {"parametrizations.weight.original"}
    assert decayed(parametrizations.weight_norm(nn.Linear(3, 2), "bias")) == {"weight"}


def test_what_the_model_exempts_is_spared_at_any_depth():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.mixer = Transformer(1), Mixer()

        def no_weight_decay_keywords(self):
            return {"head"}

    found = decayed(Wrapper())
    assert not any(
        part in name for name in found for part in ("token", "pos_embed", "bias", "gamma", "head", "A_log")
    )
    assert {"mixer.B", "inner.patch_embed.weight", "inner.blocks.0.attn.in_proj_weight"} <= found


@pytest.mark.parametrize("model", [Transformer(2), ResNet(), plain()], ids=["transformer", "resnet", "plain"])
def test_the_groups_are_those_of_timm(model):
    """The rule of timm's param_groups_weight_decay: one dimension, a bias, or named by the model.

    Deliberately different, and compared above: scales with axes of size 1, multi-dimensional parameters of
    normalizations, g of weight norm, `_no_weight_decay`, and tables of biases, which timm's models name.
    """
    exempt = getattr(model, "no_weight_decay", set)()
    expected = {
        name
        for name, p in model.named_parameters()
        if not (p.ndim <= 1 or name.endswith(".bias") or name in exempt or name.endswith("bias_table"))
    }
    assert decayed(model) == expected and expected


def test_spare_takes_names_patterns_prefixes_parameters_modules_and_classes():
    model = Transformer(2)
    everything = decayed(model)
    for spare, gone in {
        "head.weight": {"head.weight"},
        "head": {"head.weight"},
        "*.mlp.0.weight": {"blocks.0.mlp.0.weight", "blocks.1.mlp.0.weight"},
        model.head: {"head.weight"},
        model.head.weight: {"head.weight"},
        nn.Conv2d: {"patch_embed.weight"},
        ("head", nn.Conv2d): {"head.weight", "patch_embed.weight"},
    }.items():
        assert everything - decayed(model, spare=spare) == gone, spare


def test_rates_of_the_layers_are_a_power_of_the_decay():
    def rates(model):
        names = {id(p): name for name, p in model.named_parameters()}
        groups = decay_groups(model, 0.1, layer_decay=0.5, lr=1.0, l1=0.2)
        assert all((g["weight_decay"], g["l1"]) in ((0.1, 0.2), (0.0, 0.0)) and g["params"] for g in groups)
        torch.optim.AdamW(groups)
        return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}

    found = rates(Transformer(3))
    assert found["cls_token"] == found["patch_embed.weight"] == 0.5**4
    assert [found[f"blocks.{i}.mlp.0.weight"] for i in range(3)] == [0.5**3, 0.5**2, 0.5]
    assert found["norm.weight"] == found["head.bias"] == found["head.weight"] == 1.0
    assert found["blocks.1.attn.in_proj_weight"] == found["blocks.1.ls1.gamma"]
    found = rates(ResNet())
    assert (found["stem.0.weight"], found["layer1.1.down.0.weight"]) == (0.5**5, 0.5**3)
    assert (found["layer2.0.conv1.weight"], found["fc.weight"]) == (0.5**2, 1.0)
    found = rates(plain())
    assert [found[f"{i}.weight"] for i in (0, 1, 2, 4, 5)] == [0.25, 0.25, 0.25, 0.5, 1.0]


def test_numbers_of_numpy_are_taken():
    group = decay_groups(nn.Linear(2, 2), np.float32(0.5), l1=np.int64(1))[0]
    assert (group["weight_decay"], group["l1"]) == (0.5, 1) and type(group["weight_decay"]) is float
