"""Forecasters: from the last values of a series (N, lags) to the next ones (N, horizon)."""

import torch  # noqa: F401  (the examples use it)
from torch import Tensor, nn
from torch.nn import functional as F

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError
from convcraft.lab.models.networks import Activation, activation_layer
from convcraft.lab.models.recurrent import Gated


class TCN(nn.Module):
    """Temporal convolutional network: causal convolutions with kernel 3 and dilation 1, 2, 4, 8.

    The last position's channels are read out linearly, (N, lags) -> (N, horizon). Each convolution sees only the
    past, together the last 31 values. Only what the last position depends on is computed: half of the positions after
    each layer, so that stride 2 replaces the next one's dilation. Source: Bai, Kolter and Koltun (2018), An
    Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling. Chapter: Series.

    >>> TCN(12, 6)(torch.zeros(5, 24)).shape
    torch.Size([5, 6])
    """

    def __init__(self, channels: int, horizon: int, *, activation: Activation = "relu") -> None:
        super().__init__()
        layers = [nn.Conv1d(channels if depth else 1, channels, 3, stride=2) for depth in range(4)]
        self.layers = nn.ModuleList(layers)
        self.activations = nn.ModuleList(activation_layer(activation, channels) or nn.Identity() for _ in layers)
        self.output = nn.Linear(channels, horizon)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        for layer, activation in zip(self.layers, self.activations, strict=True):
            x = activation(layer(F.pad(x, (1 + x.shape[-1] % 2, 0))))  # the last position stays the last
        return self.output(x[..., -1])


class Recurrent(Gated):
    r"""Recurrent forecaster, plain ("rnn") or with gates ("gru"), whose activation f can be exchanged.

    Its states are those of `Gated` with s = sigmoid, read out linearly, (N, lags) -> (N, horizon). With
    f = tanh they equal torch's, whose parameters it has. Raises ConvcraftError for an unknown kind, and for
    None as activation. Source: Elman (1990), Finding Structure in Time; Cho and others (2014), Learning Phrase
    Representations using RNN Encoder-Decoder for Statistical Machine Translation. Chapter: Series.

    >>> Recurrent("gru", 16, 6, activation="relu")(torch.zeros(5, 24)).shape
    torch.Size([5, 6])
    """

    def __init__(self, kind: str, hidden: int, horizon: int, *, activation: Activation = "tanh") -> None:
        check_known("kind of cell", kind, ("rnn", "gru"))
        if activation is None:
            raise ConvcraftError("activation of a recurrent cell must be a function; got None. Pass 'tanh'.")
        super().__init__(kind, 1, hidden, horizon, candidate=activation)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., None])
