"""The networks: shapes, layers within reach, activations in every form, and clear errors."""

import pickle

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError, activations
from convcraft.initialization import calculate_gain, initialize
from convcraft.lab import models
from convcraft.lab.models import MLP, ConvNet, Elementwise, activation_layer


@pytest.mark.parametrize("pool", models.POOLS)
@pytest.mark.parametrize("head", models.HEADS)
@pytest.mark.parametrize("size", [8, 9, 28])
def test_a_convnet_gives_one_score_a_class(pool, head, size):
    model = ConvNet((4, 8), in_channels=3, classes=7, size=size, pool=pool, head=head, hidden=5)
    x = torch.randn(2, 3, size, size)
    assert model(x).shape == (2, 7)
    side = {"none": size, "stride": (size + 3) // 4}.get(pool, size // 4)
    assert model.features(x).shape == (2, 8, side, side)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("head", ["global_avg", "global_max"])
def test_a_global_head_takes_any_size(head):
    model = ConvNet((4,), head=head)
    assert model(torch.randn(2, 1, 17, 11)).shape == (2, 10)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_padding_keeps_the_size(kernel_size):
    model = ConvNet((4,), pool="none", kernel_size=kernel_size)
    assert model.features(torch.randn(1, 1, 8, 8)).shape == (1, 4, 8, 8)


def test_the_pools_and_heads_are_what_they_say():
    x = torch.randn(3, 1, 8, 8)
    for pool, reduce in (("max", torch.amax), ("avg", torch.mean)):
        model = ConvNet((4,), pool=pool, head=f"global_{pool}")
        channel = torch.relu(model.features.conv1(x)).unfold(2, 2, 2).unfold(3, 2, 2)
        torch.testing.assert_close(model.features(x), reduce(channel, (-2, -1)))
        features = model.features(x)
        torch.testing.assert_close(model(x), model.head.output(reduce(features, (2, 3))))
    assert ConvNet((4,), pool="stride").features.conv1.stride == (2, 2)


def test_layers_are_named_and_hooks_see_them():
    model = ConvNet((4, 8), activation="tanh")
    assert [name for name, _ in model.features.named_children()] == [
        "conv1", "act1", "pool1", "conv2", "act2", "pool2",
    ]  # fmt: skip
    assert [name for name, _ in model.head.named_children()] == ["flatten", "hidden", "act", "output"]
    seen = []
    model.features.act2.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model(torch.zeros(2, 1, 8, 8))
    assert seen == [(2, 8, 4, 4)]
    assert not hasattr(ConvNet((4,), hidden=0).head, "hidden")


def test_an_mlp_is_its_formula():
    model = MLP((6, 5, 4, 3), activation="relu").double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    h = x.flatten(1)
    for depth in (1, 2):
        layer = getattr(model.layers, f"linear{depth}")
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), h @ model.layers.linear3.weight.T + model.layers.linear3.bias)
    assert model.widths == (6, 5, 4, 3)


def test_without_activation_the_stack_is_linear_and_without_bias_it_has_none():
    model = MLP((6, 5, 3), activation=None, bias=False)
    a, b = torch.randn(2, 4, 6)
    torch.testing.assert_close(model(a + 2 * b), model(a) + 2 * model(b))
    assert all(name.endswith("weight") for name, _ in model.named_parameters())
    assert not any("act" in name for name, _ in ConvNet((4,), activation=None).named_modules())


@pytest.mark.parametrize("name", activations.catalog())
def test_every_catalogued_activation_is_a_layer(name):
    layer, x = activation_layer(name), torch.linspace(-3, 3, 7)
    assert isinstance(layer, activations.catalog()[name].module)
    torch.testing.assert_close(layer(x).detach(), activations.get(name)(x))


def test_an_activation_may_be_a_module_a_class_a_factory_or_a_function():
    assert isinstance(activation_layer(nn.GELU), nn.GELU)
    assert activation_layer(lambda: nn.LeakyReLU(0.3)).negative_slope == 0.3
    module = nn.PReLU()
    assert activation_layer(module) is not module and isinstance(activation_layer(module), nn.PReLU)
    assert isinstance(activation_layer(torch.sin), Elementwise)
    own = activation_layer(lambda x: x**2)
    assert own(torch.tensor(3.0)) == 9.0
    assert activation_layer(None) is None
    assert "sin" in repr(activation_layer(torch.sin))


def test_an_activation_that_needs_channels_gets_them():
    net = ConvNet((4, 8), activation=activations.DynamicReLU)
    assert (net.features.act1.channels, net.features.act2.channels) == (4, 8)
    mlp = MLP((6, 5, 3), activation=lambda channels: nn.PReLU(channels))
    assert mlp.layers.act1.num_parameters == 5


def test_learned_activations_are_not_shared_between_layers():
    model = MLP((6, 5, 5, 3), activation="prelu")
    assert model.layers.act1.weight is not model.layers.act2.weight
    copied = MLP((6, 5, 5, 3), activation=nn.PReLU())
    assert copied.layers.act1.weight is not copied.layers.act2.weight


def test_build_is_the_class_and_its_seed_leaves_the_random_state():
    torch.manual_seed(3)
    expected = ConvNet((4,))
    before = torch.get_rng_state()
    model = models.build("convnet", seed=3, channels=(4,))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    assert isinstance(models.build("mlp", widths=(4, 2)), MLP)
    assert models.names() == ["convnet", "mlp"]


def test_initialize_gives_the_gain_of_a_function_that_was_made_a_layer():
    first, last = initialize(MLP((6, 5, 3), activation=torch.sin))
    assert first.gain == pytest.approx(calculate_gain(torch.sin)) and last.gain == 1


def test_models_can_be_pickled():
    model, x = MLP((6, 5, 3), activation=torch.sin), torch.randn(2, 6)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: models.build("convnets"), r"unknown model 'convnets': did you mean 'convnet'\?"),
        (lambda: models.build("mlp", widths=(4, 2), seed=-1), "seed"),
        (lambda: MLP((4, 4, 2), activation="rleu"), "did you mean 'relu'"),
        (lambda: ConvNet((4,), activation="gleu"), "gelu"),
        (lambda: MLP((4, 4, 2), activation=3), "activation must be a name"),
        (lambda: MLP((4, 4, 2), activation=lambda: 3), "made int"),
        (lambda: MLP((4, 4, 2), activation=nn.Linear), "requires .*in_features"),
        (lambda: MLP((4,)), "widths"),
        (lambda: MLP((4, 0)), "widths"),
        (lambda: ConvNet((4,), pool="maximum"), "unknown pool .*'max'"),
        (lambda: ConvNet((4,), head="global"), "unknown head .*'global_"),
        (lambda: ConvNet(()), "channels"),
        (lambda: ConvNet((4, 0)), "channels"),
        (lambda: ConvNet((4,), kernel_size=4), "kernel_size must be odd"),
        (lambda: ConvNet((4, 4, 4, 4)), "size must be at least 16"),
    ],
)
def test_misuse_is_named(make, named):
    with pytest.raises(ConvcraftError, match=named):
        make()
