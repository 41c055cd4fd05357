"""Examples with labels, and the three parts of a data set that are kept apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convcraft.errors import ConvcraftError


def stratified_order(labels: ArrayLike, seed: int) -> NDArray[np.int64]:
    r"""Random order of the examples in which every prefix holds the classes in proportion.

    The example of random rank :math:`r` among the :math:`n_c` of its class gets the key :math:`(r + u)/n_c`
    with :math:`u \sim U(0, 1)`; the order is that of the keys. In any stretch of the order, each class
    then has its share, give or take two examples.

    Returns an int64 array, a permutation of `range(len(labels))`. Chapter: Convolutional networks.

    >>> order = stratified_order([0, 0, 0, 0, 1, 1], seed=0)
    >>> sorted(order.tolist())
    [0, 1, 2, 3, 4, 5]
    """
    generator = np.random.default_rng(seed)
    labels = np.asarray(labels)
    key = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        key[members] = (np.arange(len(members)) + generator.random(len(members))) / len(members)
    return np.argsort(key, kind="stable")


@dataclass(frozen=True)
class Split:
    """Examples `x` with one label each, `y`: one part of a data set. Chapter: Convolutional networks.

    `x` has the examples along its first dimension (images: N, C, H, W), `y` holds int64 class numbers, or
    floating-point targets where the task is regression. Raises ConvcraftError when the numbers of examples differ.

    >>> part = Split(torch.zeros(6, 1, 8, 8), torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> len(part), len(part.subset(2, seed=0))
    (6, 2)
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.x.ndim == 0 or self.y.ndim == 0 or len(self.x) != len(self.y):
            raise ConvcraftError(
                "x and y must have one entry per example along the first dimension; got x of shape "
                f"{tuple(self.x.shape)} and y of shape {tuple(self.y.shape)}. Pass as many labels as examples."
            )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Split(x={tuple(self.x.shape)}, y={tuple(self.y.shape)})"

    def subset(self, n: int, seed: int = 0) -> Split:
        """`n` examples drawn without replacement, each class in proportion (for regression targets: any `n`).

        Raises ConvcraftError when `n` is not between 0 and the number of examples.
        """
        if not 0 <= n <= len(self):
            raise ConvcraftError(
                f"n must lie between 0 and the {len(self)} examples of this split; got {n}. Draw fewer."
            )
        if self.y.is_floating_point() or self.y.ndim > 1:
            labels = np.zeros(len(self), dtype=np.int64)
        else:
            labels = self.y.cpu().numpy()
        chosen = torch.from_numpy(stratified_order(labels, seed)[:n].copy()).to(self.y.device)
        return Split(self.x[chosen.to(self.x.device)], self.y[chosen])

    def to(self, device: torch.device | str) -> Split:
        """The same examples on another device."""
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Splits:
    """The training, validation and test parts of one data set; `classes` holds the names of the classes.

    Weights are learned on `train`, every choice is made on `validation`, and `test` is looked at once, at the
    end. Chapter: Convolutional networks.

    >>> part = Split(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
    >>> splits = Splits(part, part, part, "toy", ("cat", "dog"))
    >>> splits.chance
    0.5
    >>> splits.flattened().train.x.shape
    torch.Size([4, 64])
    """

    train: Split
    validation: Split
    test: Split
    name: str
    classes: tuple[str, ...]

    @property
    def chance(self) -> float:
        """The accuracy of guessing: one over the number of classes."""
        return 1.0 / max(len(self.classes), 1)

    def _map(self, change: object) -> Splits:
        parts = {name: change(getattr(self, name)) for name in ("train", "validation", "test")}  # type: ignore[operator]
        return replace(self, **parts)

    def standardized(self) -> Splits:
        """All three parts, shifted and scaled so that the training part has mean 0 and standard deviation 1.

        Images (N, C, H, W) channel by channel; anything else by one mean and one deviation over all entries.
        Only the training part is measured. Raises ConvcraftError when it is constant.
        """
        x = self.train.x
        over = (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim))
        mean, deviation = x.mean(over, keepdim=True), x.std(over, correction=0, keepdim=True)
        if not bool((deviation > 0).all()):
            raise ConvcraftError(
                "standardized() needs a training part that varies (in every channel); got one with standard deviation "
                f"{deviation.flatten().tolist()}. Drop the constant channel or leave the data as they are."
            )
        return self._map(lambda part: Split((part.x - mean) / deviation, part.y))

    def flattened(self) -> Splits:
        """All three parts with each example as one row (N, features)."""
        return self._map(lambda part: Split(part.x.flatten(1), part.y))

    def to(self, device: torch.device | str) -> Splits:
        """All three parts on another device."""
        return self._map(lambda part: part.to(device))

    def __repr__(self) -> str:
        sizes = "/".join(str(len(part)) for part in (self.train, self.validation, self.test))
        shape, classes = tuple(self.train.x.shape[1:]), len(self.classes)
        return f"Splits({self.name!r}, {sizes}, x={shape}, {classes} classes)"
