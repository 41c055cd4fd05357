"""The illnesses: of data and losses, of batch normalization, of units and signals, of gradients and steps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import penalties
from convcraft.lab import models
from convcraft.lab.clinic.cases import CLASSES, Case, Hidden, Maker, case, conv_net, he_, images, mlp, vectors


def initial_loss(ill: bool) -> Case:
    """The last layer's weights are thirty times too large; the twin's have LeCun's scale."""
    model = he_(mlp(1, nn.ReLU))
    with torch.no_grad():
        model.get_parameter("2.weight").mul_(30.0 if ill else 1.0)
    return case(model, vectors(), 0.001)


def softmax_before_cross_entropy(ill: bool) -> Case:
    """The model ends in softmax, and the loss is cross-entropy; the twin returns its logits."""
    model = he_(mlp(1, nn.ReLU))
    if ill:
        model.append(nn.Softmax(1))
    return case(model, vectors())


def unbounded_loss(ill: bool) -> Case:
    """The loss is F.nll_loss, and the model ends in a linear layer; the twin ends in log-softmax."""
    model, (x, y) = he_(mlp(1, nn.ReLU)), vectors()
    if not ill:
        model.append(nn.LogSoftmax(1))
    return Case(model, (x, y), F.nll_loss, torch.optim.SGD(model.parameters(), 0.05))


def inputs_not_standardized(ill: bool) -> Case:
    """Images as bytes from 0 to 255; the twin's have mean 0 and variance 1."""
    x, y = images()
    layers = nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, CLASSES)
    model = he_(nn.Sequential(*layers))
    pixels = (x * 60 + 120).clamp(0, 255).round()
    return case(model, (pixels if ill else x, y), 0.001 if ill else 0.05)


def train_eval_mismatch(ill: bool) -> Case:
    """In training mode the hidden values are multiplied by 1.5; the twin's are not."""
    return case(he_(Hidden(lambda x, training: x * 1.5 if ill and training else x)), vectors())


def random_evaluation(ill: bool) -> Case:
    """F.dropout without training=self.training drops in evaluation too; the twin passes it."""
    model = Hidden(lambda x, training: F.dropout(x, 0.2) if ill else F.dropout(x, 0.2, training=training))
    return case(he_(model), vectors())


def _regression(n: int = 64) -> tuple[Tensor, Tensor]:
    """Standardized features (n, 20) and a standardized target (n, 1) that they explain."""
    x, _ = vectors(n)
    y = x[:, :3].sum(1, keepdim=True) + x[:, 3:4].relu()
    return x, (y - y.mean()) / y.std()


def _regressor(*last: nn.Module) -> nn.Sequential:
    return he_(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1), *last))


def broadcast_loss(ill: bool) -> Case:
    """The output has the shape (64, 1) and the target (64,); the twin's target is (64, 1) too."""
    model, (x, y) = _regressor(), _regression()
    batch, optimizer = (x, y.squeeze(1) if ill else y), torch.optim.SGD(model.parameters(), 0.01)
    return Case(model, batch, lambda output, target: (output - target).square().mean(), optimizer)


def output_range(ill: bool) -> Case:
    """A sigmoid at the output and standardized targets; the twin scales the targets into [0, 1]."""
    model, (x, y) = _regressor(nn.Sigmoid()), _regression()
    scaled = (y - y.min()) / (y.max() - y.min())
    return Case(model, (x, y if ill else scaled), F.mse_loss, torch.optim.SGD(model.parameters(), 0.05))


def bias_before_normalization(ill: bool) -> Case:
    """Convolutions with a bias before batch normalization; the twin's have none."""
    return case(conv_net(bias=ill), images())


def dropout_before_batch_norm(ill: bool) -> Case:
    """Dropout between two normalized convolutions; the twin has none there."""
    return case(conv_net(dropout=0.3 if ill else 0.0), images())


def batch_norm_small_batch(ill: bool) -> Case:
    """Batch normalization on batches of 4; the twin normalizes over groups of channels."""
    return case(conv_net(norm=nn.BatchNorm2d if ill else lambda channels: nn.GroupNorm(4, channels)), images(4))


def batch_norm_eval_mode(ill: bool) -> Case:
    """A model in training mode with a batch normalization in eval mode; the twin's is in training mode."""
    model = conv_net()
    if ill:
        model.get_submodule("1").eval()
    return case(model, images())


def batch_norm_running_statistics(ill: bool) -> Case:
    """Running statistics of other data, three times as wide and shifted; the twin's are of its own."""
    model = conv_net()
    x, y = images()
    with torch.no_grad():
        for _ in range(60):
            model(3 * x + 4 if ill else x)
    return case(model, (x, y))


def dead_units(ill: bool) -> Case:
    """The biases of a hidden layer are -6, so that its ReLU never fires; the twin's are zero."""
    model = he_(mlp(2, nn.ReLU))
    batches = [vectors() for _ in range(3)]
    with torch.no_grad():
        model.get_submodule("2").bias.fill_(-6.0 if ill else 0.0)  # type: ignore[operator]
    return case(model, batches)


def saturated_units(ill: bool) -> Case:
    """The weights before tanh are twenty times too large; the twin's have Xavier's scale."""
    return case(he_(mlp(2, nn.Tanh), 20.0 if ill else 1.0), vectors())


def vanishing_gradient(ill: bool) -> Case:
    """Eight layers of sigmoid with torch's default initialization; the twin has ReLU and He's."""
    model = mlp(8, nn.Sigmoid) if ill else he_(mlp(8, nn.ReLU))
    return case(model, vectors(256))


def exploding_gradient(ill: bool) -> Case:
    """Ten layers of ReLU with weights four times as large as He's; the twin has He's."""
    return case(he_(mlp(10, nn.ReLU), 4 * 2**0.5 if ill else 2**0.5), vectors(256))


def activation_drift(ill: bool) -> Case:
    """Twelve layers of ReLU with torch's default initialization; the twin has He's."""
    model = mlp(12, nn.ReLU)
    return case(model if ill else he_(model), vectors(256))


def constant_weights(ill: bool) -> Case:
    """Every weight of the hidden layer is 0.05; the twin has random ones."""
    model = he_(mlp(1, nn.ReLU))
    if ill:
        nn.init.constant_(model.get_parameter("0.weight"), 0.05)
    return case(model, vectors())


def initialization_mismatch(ill: bool) -> Case:
    """Eight layers of SELU with 0.4 of the weights' scale that it needs; the twin has LeCun's."""
    return case(he_(mlp(8, nn.SELU), 0.4 if ill else 1.0), vectors())


def not_finite(ill: bool) -> Case:
    """A layer takes the logarithm of a ReLU, which can be zero; the twin adds one before."""
    logarithm = models.Elementwise(lambda x: torch.log(x.relu() + (0.0 if ill else 1.0)))
    return case(he_(nn.Sequential(nn.Linear(20, 64), logarithm, nn.Linear(64, CLASSES))), vectors())


class _Reader(nn.Module):
    """A recurrent layer over (n, steps, 20) of which the last state, or the mean of all, is read."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.rnn, self.output, self.last = nn.RNN(20, 32, batch_first=True), nn.Linear(32, CLASSES), last

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.output(states[:, -1] if self.last else states.mean(1))


def gradient_vanishes_in_time(ill: bool) -> Case:
    """The last of 50 states of a recurrent layer is read; the twin reads the mean of all."""
    x, y = vectors()
    return case(_Reader(last=ill), (x.unsqueeze(1) + torch.randn(len(x), 50, 20), y))


class _Attention(nn.Module):
    """Attention of one head over 10 parts of the input, with a residual connection."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.lift = nn.Linear(2, 64)
        self.norm = nn.LayerNorm(64)
        self.query, self.key, self.value = (nn.Linear(64, 64, bias=False) for _ in range(3))
        self.output, self.scale = nn.Linear(64, CLASSES), scale
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=64**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x.view(-1, 10, 2))  # (n, 10, 64)
        h = self.norm(x)
        weights = (self.query(h) @ self.key(h).mT * self.scale).softmax(-1)  # (n, 10, 10)
        return self.output((x + weights @ self.value(h)).mean(1))


def saturated_attention(ill: bool) -> Case:
    """Scores that are not divided by the square root of 64; the twin's are."""
    return case(_Attention(1.0 if ill else 64**-0.5), vectors())


class _Gated(nn.Module):
    """x + alpha * branch(x) with alpha = 0."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * self.branch(x)


def dead_branch(ill: bool) -> Case:
    """A branch behind a gate of zero ends in zeros as well; the twin's ends in random weights."""
    model = he_(nn.Sequential(nn.Linear(20, 64), _Gated(), nn.ReLU(), nn.Linear(64, CLASSES)))
    if ill:
        nn.init.zeros_(model.get_parameter("1.branch.2.weight"))
    return case(model, vectors())


def update_too_large(ill: bool) -> Case:
    """A learning rate of 30; the twin's is 0.05."""
    return case(he_(mlp(2, nn.ReLU)), vectors(), 30.0 if ill else 0.05)


def update_too_small(ill: bool) -> Case:
    """A learning rate of 1e-7; the twin's is 0.05."""
    return case(he_(mlp(2, nn.ReLU)), vectors(), 1e-7 if ill else 0.05)


def decayed_biases_and_norms(ill: bool) -> Case:
    """One parameter group with weight decay; the twin decays the weights only."""
    model = conv_net()
    if ill:
        return case(model, images(), weight_decay=1e-3)
    return case(model, images(), parameters=penalties.decay_groups(model, 1e-3))


def no_gradient(ill: bool) -> Case:
    """A detach() in the middle of forward; the twin has none."""
    return case(he_(Hidden(lambda x, training: x.detach() if ill else x)), vectors())


def not_optimized(ill: bool) -> Case:
    """The optimizer holds the last layer only; the twin's holds everything."""
    model = he_(mlp(1, nn.ReLU))
    return case(model, vectors(), parameters=model[-1].parameters() if ill else None)


def step_raises_loss(ill: bool) -> Case:
    """The optimizer maximizes; the twin's minimizes."""
    made = case(he_(mlp(1, nn.ReLU)), vectors())
    made.optimizer.param_groups[0]["maximize"] = ill
    return made


_MAKERS: tuple[Maker, ...] = (
    dead_units, saturated_units, vanishing_gradient, exploding_gradient, activation_drift, constant_weights,
    initialization_mismatch, not_finite, gradient_vanishes_in_time, saturated_attention, dead_branch, initial_loss,
    softmax_before_cross_entropy, unbounded_loss, inputs_not_standardized, train_eval_mismatch, random_evaluation,
    broadcast_loss, output_range, bias_before_normalization, dropout_before_batch_norm, batch_norm_small_batch,
    batch_norm_eval_mode, batch_norm_running_statistics, update_too_large, update_too_small,
    decayed_biases_and_norms, no_gradient, not_optimized, step_raises_loss,
)  # fmt: skip
#: name -> the maker of its case: "dead-units" -> `dead_units`
CASES: dict[str, Maker] = {maker.__name__.replace("_", "-"): maker for maker in _MAKERS}
