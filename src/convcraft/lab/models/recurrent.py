"""Recurrent networks whose gates and candidate can be exchanged, and two small networks for text."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convcraft._checks import check_known
from convcraft.lab.models.networks import Activation, activation_layer

CELLS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def _function(activation: Activation, hidden: int) -> nn.Module:
    return activation_layer(activation, hidden) or nn.Identity()


class Gated(nn.Module):
    r"""Recurrent network ("rnn", "lstm" or "gru") with a gate :math:`s` and a candidate function :math:`f`.

    .. math:: \text{rnn: } & h_t = f(W x_t + U h_{t-1} + b) \\
              \text{lstm: } & c_t = s(\cdot) \odot c_{t-1} + s(\cdot) \odot f(\cdot), \quad
              h_t = s(\cdot) \odot f(c_t) \\
              \text{gru: } & h_t = z_t \odot h_{t-1}
              + (1 - z_t) \odot f(W x_t + b + r_t \odot (U h_{t-1} + d))

    The last state is read out linearly, (N, T, inputs) -> (N, outputs). `cell` is torch's layer, which holds
    the parameters: with s = sigmoid and f = tanh the states are those of `cell(x)`. An activation of None is
    the identity. Raises ConvcraftError for an unknown kind or activation. Source: Hochreiter and Schmidhuber
    (1997), Long Short-Term Memory; Cho and others (2014), Learning Phrase Representations using RNN
    Encoder-Decoder for Statistical Machine Translation. Chapter: Recurrent networks.

    >>> net, x = Gated("lstm", 3, 8, 2), torch.randn(5, 7, 3)
    >>> net(x).shape, torch.allclose(net.states(x), net.cell(x)[0], atol=1e-6)
    (torch.Size([5, 2]), True)
    """

    def __init__(
        self,
        kind: str,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        gate: Activation = "sigmoid",
        candidate: Activation = "tanh",
    ) -> None:
        super().__init__()
        check_known("kind of cell", kind, CELLS)
        self.kind, self.cell = kind, CELLS[kind](inputs, hidden, batch_first=True)
        self.gate, self.candidate = _function(gate, hidden), _function(candidate, hidden)
        self.output = nn.Linear(hidden, outputs)

    def states(self, x: Tensor) -> Tensor:
        """All states, (N, T, hidden), for the inputs x, (N, T, inputs)."""
        cell: Any = self.cell  # its parameters have names of their own
        size = cell.hidden_size
        inputs = F.linear(x, cell.weight_ih_l0, cell.bias_ih_l0)  # (N, T, hidden, or 4 or 3 times that)
        h = c = x.new_zeros(*x.shape[:-2], size)
        found = []
        for now in inputs.unbind(-2):
            past = F.linear(h, cell.weight_hh_l0, cell.bias_hh_l0)
            if self.kind == "rnn":
                h = self.candidate(now + past)
            elif self.kind == "lstm":
                i, keep, new, out = (now + past).chunk(4, -1)  # torch's order
                c = self.gate(keep) * c + self.gate(i) * self.candidate(new)
                h = self.gate(out) * self.candidate(c)
            else:
                reset, keep = self.gate((now + past)[..., : 2 * size]).chunk(2, -1)
                new = self.candidate(now[..., 2 * size :] + reset * past[..., 2 * size :])
                h = new + keep * (h - new)
            found.append(h)
        return torch.stack(found, -2)  # (..., T, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.states(x)[..., -1, :])


class TextNet(nn.Module):
    """Classifier of sequences of word numbers (N, T), in which 0 is padding on the left: "mean" of the
    embeddings and a dense layer, "cnn" (kernel 3, maximum over time), "gru", or "transformer" (one block with
    one head, normalization before each branch, mean over time); returns (N, classes).

    `activation` acts in the dense layer, after the convolution, as the GRU's candidate, or in the Transformer's
    branch. Raises ConvcraftError for an unknown kind. Source: Kim (2014), Convolutional Neural Networks for
    Sentence Classification; Vaswani and others (2017), Attention Is All You Need. Chapter: Recurrent networks.

    >>> TextNet("cnn", 100, 8, 16, 2)(torch.tensor([[0, 0, 5, 7], [1, 2, 3, 4]])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        kind: str,
        words: int,
        size: int,
        hidden: int,
        classes: int,
        *,
        length: int = 32,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_known("kind of network", kind, ("mean", "cnn", "gru", "transformer"))
        self.kind, self.embedding = kind, nn.Embedding(words, size)
        self.activation, width = _function(activation, hidden), hidden
        self.hidden: nn.Module
        self.output: nn.Module
        if kind == "mean":
            self.hidden = nn.Linear(size, hidden)
        elif kind == "cnn":
            self.hidden = nn.Conv1d(size, hidden, 3, padding=1)
        elif kind == "gru":
            self.hidden = Gated("gru", size, hidden, classes, candidate=activation)
        else:
            self.place = nn.Parameter(0.1 * torch.randn(length, size))
            self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
            self.attend, self.mix = nn.Linear(size, 3 * size), nn.Linear(size, size)
            self.hidden, self.back = nn.Linear(size, hidden), nn.Linear(hidden, size)
            width = size
        self.output = nn.Linear(width, classes) if kind != "gru" else nn.Identity()

    def forward(self, words: Tensor) -> Tensor:
        x, there = self.embedding(words), (words > 0).unsqueeze(-1)  # (N, T, size), (N, T, 1)
        if self.kind == "gru":
            return self.hidden(x * there)
        if self.kind == "cnn":
            found = self.activation(self.hidden((x * there).mT))  # (N, hidden, T)
            return self.output(found.amax(-1))
        if self.kind == "transformer":
            x = x + self.place[-x.shape[-2] :]
            query, key, value = self.attend(self.norms[0](x)).chunk(3, -1)  # (N, T, size) each
            scores = query @ key.mT / x.shape[-1] ** 0.5  # (N, T, T)
            scores = torch.where(there.mT, scores, -1e9)  # padding is not attended to
            x = x + self.mix(scores.softmax(-1) @ value)
            x = self.norms[2](x + self.back(self.activation(self.hidden(self.norms[1](x)))))
        mean = (x * there).sum(-2) / there.sum(-2).clamp(min=1)
        return self.output(self.activation(self.hidden(mean)) if self.kind == "mean" else mean)
