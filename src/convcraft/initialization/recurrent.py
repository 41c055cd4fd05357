"""Layers with several weights: recurrent layers, attention, embeddings."""

import math

from torch import Tensor, nn

from .._checks import Generator
from ..errors import ConvcraftError
from .variance_scaling import orthogonal_, xavier_uniform_

_LSTM, _GRU = (nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)


def check_memory(model: nn.Module, memory: float) -> None:
    """Refuse a model in which no gate can carry a memory."""
    gated = [module for module in model.modules() if isinstance(module, (*_LSTM, *_GRU))]
    if not any(module.bias for module in gated):
        found = "those without biases" if gated else "none"
        raise ConvcraftError(
            f"initialize: memory={memory:g} needs LSTM or GRU layers with biases, got {found}; leave it out"
        )


def fill(kind: str, module: nn.Module, generator: Generator, memory: float | None) -> str:
    """Initialize a layer of one of these kinds, and say how."""
    if kind == "recurrent":
        return recurrent(module, generator, memory)
    if isinstance(module, nn.MultiheadAttention):
        return attention(module, generator)
    assert isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    module.weight.normal_(0, 1, generator=generator)
    if module.padding_idx is not None:
        module.weight[module.padding_idx].zero_()
    return "normal"


def recurrent(module: nn.Module, generator: Generator, memory: float | None) -> str:
    """Xavier for each gate's input weight, orthogonal for its recurrent one, biases 0 and forget gates 1."""
    hidden, lstm = module.hidden_size, isinstance(module, _LSTM)
    assert isinstance(hidden, int)
    kept = ""
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith("bias"):
            parameter.zero_()
            if name.startswith("bias_ih") and isinstance(module, (*_LSTM, *_GRU)):
                # The gate that multiplies the old state is the second in torch's order: input, forget, cell,
                # output for the LSTM; reset, update, new for the GRU.
                gate = parameter[hidden : 2 * hidden]
                if memory is not None:
                    gate.uniform_(1, memory - 1, generator=generator).log_()
                    if lstm:
                        parameter[:hidden] = -gate
                    kept = f", {'forget' if lstm else 'update'} bias log U(1, {memory - 1:g})"
                elif lstm:
                    gate.fill_(1)
                    kept = ", forget bias 1"
        elif name.startswith("weight_hr"):
            orthogonal_(parameter, generator=generator)
        else:
            for gate in parameter.split(hidden):
                if name.startswith("weight_hh"):
                    orthogonal_(gate, generator=generator)
                else:
                    xavier_uniform_(gate, generator=generator)
    return f"xavier_uniform, orthogonal{kept}"


def attention(module: nn.MultiheadAttention, generator: Generator) -> str:
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
