"""The networks that the book trains: plain stacks of torch.nn layers, every layer within reach of a hook."""

from .adaptive import ADAPTIVE, Bumps, Skip, adaptive_net, adaptive_widths, sine_mlp
from .generators import VAE, ConvDecoder, kl_to_normal
from .networks import HEADS, MLP, POOLS, Activation, ConvNet, Elementwise, activation_layer, build, names
from .recommenders import Factorization, PairNet
from .recurrent import Gated, TextNet
from .series import TCN, Recurrent

__all__ = [
    "ADAPTIVE", "HEADS", "MLP", "POOLS", "TCN", "VAE", "Activation", "Bumps", "ConvDecoder", "ConvNet",
    "Elementwise", "Factorization", "Gated", "PairNet", "Recurrent", "Skip", "TextNet", "activation_layer",
    "adaptive_net", "adaptive_widths", "build", "kl_to_normal", "names", "sine_mlp",
]  # fmt: skip
