"""The data sets of images."""

import numpy as np
import torch
from numpy.typing import NDArray

from convcraft._checks import check_known
from convcraft.lab.data.files import FASHION_MNIST, find, read_idx
from convcraft.lab.data.splits import Split, Splits, stratified_order

_Arrays = tuple[NDArray[np.floating], NDArray[np.integer]]
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _part(arrays: _Arrays, rows: NDArray[np.int64] | slice, device: torch.device | str, dtype: torch.dtype) -> Split:
    x, y = (torch.from_numpy(np.array(a[rows])) for a in arrays)
    return Split(x.to(device=device, dtype=dtype), y.to(device=device, dtype=torch.int64))


def _digits(seed: int, device: torch.device | str, dtype: torch.dtype) -> Splits:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    arrays = (bunch.images[:, None] / 16.0, bunch.target)
    order = stratified_order(bunch.target, seed)
    train, validation, test = (_part(arrays, rows, device, dtype) for rows in np.split(order, (1000, 1297)))
    return Splits(train, validation, test, "digits", tuple("0123456789"))


def _fashion_mnist(seed: int, device: torch.device | str, dtype: torch.dtype) -> Splits:
    raw = {name: read_idx(find("fashion-mnist", name)) for name in FASHION_MNIST}
    learn, test = (
        (raw[f"{which}-images-idx3-ubyte.gz"][:, None] / np.float32(255), raw[f"{which}-labels-idx1-ubyte.gz"])
        for which in ("train", "t10k")
    )
    order = stratified_order(learn[1], seed)
    train, validation = (_part(learn, rows, device, dtype) for rows in np.split(order, (55_000,)))
    whole = _part(test, slice(None), device, dtype)
    return Splits(train, validation, whole, "fashion-mnist", FASHION_CLASSES)


_LOADERS = {"digits": _digits, "fashion-mnist": _fashion_mnist}


def names() -> list[str]:
    """Names of the data sets that `load` knows. Chapter: Convolutional networks.

    >>> names()
    ['digits', 'fashion-mnist']
    """
    return list(_LOADERS)


def load(
    name: str = "digits", *, seed: int = 0, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Splits:
    """Load a data set as `Splits(train, validation, test)`: pixels in [0, 1] (N, C, H, W), int64 labels.

    "digits" (1,797 images 8x8, from scikit-learn, no download) is split 1000/297/500 at random from `seed`, in
    proportion to the classes. "fashion-mnist" (28x28) keeps its published test part of 10,000 and gives 5,000 of the
    other 60,000 to validation. Its four files are read from the folder that `CONVCRAFT_DATA` names, else from
    the user's cache, else downloaded. Raises ConvcraftError for an unknown name, and for a file that is
    missing or does not have the published bytes. Sources: Alpaydin and Kaynak (1998), Optical Recognition of
    Handwritten Digits; Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for Benchmarking
    Machine Learning Algorithms. Chapter: Convolutional networks.

    >>> splits = load("digits")
    >>> splits
    Splits('digits', 1000/297/500, x=(1, 8, 8), 10 classes)
    >>> splits.train.y.bincount().tolist()
    [98, 101, 99, 102, 100, 102, 101, 100, 97, 100]
    """
    check_known("data set", name, _LOADERS)
    return _LOADERS[name](seed, device, dtype)
