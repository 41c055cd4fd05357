"""Layers with several weights: recurrent layers, attention, embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .scaled import orthogonal_, xavier_uniform_


def fill(kind: str, module: nn.Module, generator: torch.Generator | None) -> str:
    """Initialize a layer of one of these kinds, and say how."""
    if kind == "recurrent":
        return recurrent(module, generator)
    if isinstance(module, nn.MultiheadAttention):
        return attention(module, generator)
    assert isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    module.weight.normal_(0, 1, generator=generator)
    if module.padding_idx is not None:
        module.weight[module.padding_idx].zero_()
    return "normal"


def recurrent(module: nn.Module, generator: torch.Generator | None) -> str:
    """Xavier for each gate's input weight, orthogonal for its recurrent one, biases 0 and forget gates 1."""
    hidden = module.hidden_size
    assert isinstance(hidden, int)
    lstm = isinstance(module, (nn.LSTM, nn.LSTMCell))
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith("bias"):
            parameter.zero_()
            if lstm and name.startswith("bias_ih"):
                parameter[hidden : 2 * hidden].fill_(1)  # torch's order: input, forget, cell, output
        elif name.startswith("weight_hr"):
            orthogonal_(parameter, generator=generator)
        else:
            for gate in parameter.split(hidden):
                if name.startswith("weight_hh"):
                    orthogonal_(gate, generator=generator)
                else:
                    xavier_uniform_(gate, generator=generator)
    return "xavier_uniform, orthogonal" + (", forget bias 1" if lstm else "")


def attention(module: nn.MultiheadAttention, generator: torch.Generator | None) -> str:
    """Xavier for query, key, value and the output, each by its own fans; biases 0."""
    parts: list[Tensor] = [module.out_proj.weight]
    if module.in_proj_weight is not None:
        parts += module.in_proj_weight.chunk(3)
    else:
        parts += [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    for part in parts:
        xavier_uniform_(part, generator=generator)
    for bias in (module.in_proj_bias, module.out_proj.bias):
        if bias is not None:
            bias.zero_()
    for token in (module.bias_k, module.bias_v):
        if token is not None:
            token.normal_(0, 1 / math.sqrt(module.embed_dim), generator=generator)
    return "xavier_uniform"
