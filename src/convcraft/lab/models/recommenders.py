"""Recommenders: what a user thinks of an item, from a vector for each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convcraft.errors import ConvcraftError
from convcraft.lab.models.networks import MLP, Activation


def _table(rows: int, width: int, scale: float = 0.1) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, std=scale)
    return table


class Factorization(nn.Module):
    r"""Matrix factorization: :math:`\mu + a_u + b_i + p_u^\top q_i`, with vectors of `rank` numbers.

    Takes pairs (N, 2) of user and item as int64, returns (N,). The vectors start normal with standard
    deviation 0.1, the biases at 0. Raises ConvcraftError for a size below 1. Source: Koren, Bell and Volinsky
    (2009), Matrix Factorization Techniques for Recommender Systems. Chapter: Recommenders.

    >>> Factorization(300, 200, rank=8)(torch.tensor([[0, 5], [299, 199]])).shape
    torch.Size([2])
    """

    def __init__(self, users: int, items: int, rank: int) -> None:
        super().__init__()
        if min(users, items, rank) < 1:
            raise ConvcraftError(
                f"users, items and rank must be 1 or more; got {users}, {items} and {rank}. Pass for example "
                "(300, 200, rank=8)."
            )
        self.users, self.items = _table(users, rank), _table(items, rank)
        self.user_bias, self.item_bias = _table(users, 1), _table(items, 1)
        self.mean = nn.Parameter(torch.zeros(()))
        for bias in (self.user_bias, self.item_bias):
            nn.init.zeros_(bias.weight)

    def forward(self, pairs: Tensor) -> Tensor:
        user, item = pairs.unbind(-1)
        biases = self.user_bias(user) + self.item_bias(item)  # (N, 1)
        return self.mean + biases.squeeze(-1) + (self.users(user) * self.items(item)).sum(-1)


class PairNet(nn.Module):
    r"""Neural collaborative filtering: a fully connected network on :math:`[p_u, q_i]`; with `product=True`
    the entries of :math:`p'_u \odot q'_i` join its last hidden layer (NeuMF).

    Without `activation` and product it is a sum of a number for the user and one for the item. The vectors
    start normal with standard deviation 0.3: nearer to 0, saturating functions are slow to start. Takes
    pairs (N, 2) of user and item as int64, returns (N,). Raises ConvcraftError for no hidden layer. Source:
    He and others (2017), Neural Collaborative Filtering. Chapter: Recommenders.

    >>> net = PairNet(300, 200, rank=8, hidden=(32, 16), activation="relu")
    >>> net(torch.tensor([[0, 5], [299, 199]])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        users: int,
        items: int,
        rank: int,
        hidden: Sequence[int],
        *,
        activation: Activation = "relu",
        product: bool = False,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ConvcraftError("hidden must hold one width or more; got none. Pass for example (32, 16).")
        self.users, self.items = _table(users, rank, 0.3), _table(items, rank, 0.3)
        self.product = nn.ModuleList((_table(users, rank), _table(items, rank))) if product else None
        self.layers = MLP((2 * rank, *hidden, hidden[-1]), activation=activation).layers[:-1]
        self.output = nn.Linear(hidden[-1] + (rank if product else 0), 1)

    def forward(self, pairs: Tensor) -> Tensor:
        user, item = pairs.unbind(-1)
        h = self.layers(torch.cat([self.users(user), self.items(item)], -1))  # (N, hidden)
        if self.product is not None:
            h = torch.cat([h, self.product[0](user) * self.product[1](item)], -1)  # (N, hidden + rank)
        return self.output(h).squeeze(-1)
