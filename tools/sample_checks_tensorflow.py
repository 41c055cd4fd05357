"""What is measured on the result of each TensorFlow sample; needs neither torch nor scipy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from sample_helpers import Check, Namespace, gap_check, run


def tensorflow(
    reference: Callable[[Any], Any], low: float, high: float, limit: float = 1e-6
) -> Callable[..., list[Check]]:
    """Checks that all TensorFlow samples share: shape, printing, range, and a reference in NumPy."""

    def checks(space: Namespace, printed: str = "") -> list[Check]:
        x, y = space["x"].numpy().astype(np.float64), space["output"].numpy()
        return [
            ("values that it draws", int(x.size), x.shape == (1, 5) == y.shape),
            ("times that it prints a tensor", printed.count("tf.Tensor"), printed.count("tf.Tensor") == 1),
            gap_check("largest difference from the formula in NumPy", y, reference(x), limit),
            (f"values below {low:g} or above {high:g}", n := int(((y < low) | (y > high)).sum()), n == 0),
        ]

    return checks


def tf_sigmoid(space: Namespace, printed: str) -> list[Check]:
    x, y = space["x"].numpy(), space["output"].numpy()
    least = float(np.min(np.abs(y - 2 / (1 + np.exp(-x)))))
    common = tensorflow(lambda x: 1 / (1 + np.exp(-x)), 0, 1)(space, printed)
    return [
        *common,
        ("smallest difference from 2/(1+e^-x), the formula printed above it", least, least > 1e-3),
    ]


def tf_leaky_relu(space: Namespace, printed: str) -> list[Check]:
    default = float(space["tf"].nn.leaky_relu([-1.0])[0])
    common = tensorflow(lambda x: np.where(x > 0, x, 0.01 * x), -np.inf, np.inf)(space, printed)
    return [*common, ("slope when alpha is left out", -round(default, 6), abs(default + 0.2) < 1e-6)]


def tf_elu(space: Namespace, printed: str) -> list[Check]:
    common = tensorflow(lambda x: np.where(x > 0, x, np.expm1(x)), -1, np.inf)(space, printed)
    names = list(inspect.signature(space["tf"].nn.elu).parameters)
    return [*common, ("arguments of tf.nn.elu that set alpha", n := int("alpha" in names), n == 0)]


def tf_swish(space: Namespace, printed: str) -> list[Check]:
    common = tensorflow(lambda x: x / (1 + np.exp(-x)), -0.2785, np.inf)(space, printed)
    return [
        *common,
        gap_check(
            "largest difference from tf.nn.silu", space["output"], space["tf"].nn.silu(space["x"]), 1e-6
        ),
    ]


def tf_softmax(space: Namespace, printed: str) -> list[Check]:
    def reference(x: Any) -> Any:
        e = np.exp(x - x.max())
        return e / e.sum()

    column = space["tf"].nn.softmax(space["tf"].transpose(space["x"])).numpy()
    total = abs(float(space["output"].numpy().sum(dtype=np.float64)) - 1)
    return [
        *tensorflow(reference, 0, 1)(space, printed),
        ("difference of the sum from 1, at most 1e-06", total, total <= 1e-6),
        gap_check("largest difference from 1 for the transposed input", column, np.ones((5, 1))),
    ]


def keras(space: Namespace, text: str) -> list[Check]:
    rng = np.random.default_rng(0)
    images, labels = rng.random((64, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, 64)
    data = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    trained, outcome, _, _, _ = run(text, **data)
    return [
        ("parameters of the model that it builds", n := int(space["model"].count_params()), n == 121930),
        ("with arrays of the right shape given it ends as", outcome, outcome == "ran"),
        ("epochs that it then trains", n := len(trained["model"].history.epoch), n == 5),
    ]


CHECKS: dict[str, Callable[..., list[Check]]] = {
    "code-a3-tf-sigmoid": tf_sigmoid,
    "code-a3-tf-tanh": tensorflow(lambda x: 2 / (1 + np.exp(-2 * x)) - 1, -1, 1),
    "code-a3-tf-relu": tensorflow(lambda x: np.maximum(x, 0), 0, np.inf),
    "code-a3-tf-leaky-relu": tf_leaky_relu,
    "code-a3-tf-elu": tf_elu,
    "code-a3-tf-swish": tf_swish,
    "code-a3-tf-softmax": tf_softmax,
    "code-a4-keras-cnn": keras,
}
