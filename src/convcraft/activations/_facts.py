"""What stands in the catalogue of activations: formulas in TeX, properties, sources."""

from __future__ import annotations

import math
from typing import Any

_INF = math.inf
_HE = "He: variance 2 / fan_in"
_XAVIER = "Xavier: variance 2 / (fan_in + fan_out)"

_RELU6_SOURCE = ("Krizhevsky", 2010, "Convolutional Deep Belief Networks on CIFAR-10")
_SIGMOID_SOURCE = (
    "Rumelhart, Hinton and Williams",
    1986,
    "Learning representations by back-propagating errors",
)
_MOBILE_SOURCE = ("Howard et al.", 2019, "Searching for MobileNetV3")


def _fact(
    formula: str,
    derivative: str,
    low: float,
    high: float,
    range_text: str,
    smooth: str,
    lipschitz: float,
    cost: float,
    source: tuple[str, int, str],
    *,
    zero_centred: bool = False,
    monotonic: bool = True,
    initialization: str = _HE,
    parameter: tuple[str, float, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    return {
        "formula": formula,
        "derivative": derivative,
        "range": (low, high),
        "range_text": range_text,
        "smooth": smooth,
        "lipschitz": lipschitz,
        "cost": cost,
        "source": source,
        "zero_centred": zero_centred,
        "monotonic": monotonic,
        "initialization": initialization,
        "parameter": parameter,
    }


FACTS: dict[str, dict[str, Any]] = {
    "relu": _fact(
        r"\max(x, 0)",
        r"1\ (x > 0),\quad 0\ (x \le 0)",
        0.0, _INF, "[0, inf)", "C0", 1.0, 1.0,
        ("Nair and Hinton", 2010, "Rectified Linear Units Improve Restricted Boltzmann Machines"),
    ),
    "relu6": _fact(
        r"\min(\max(x, 0), 6)",
        r"1\ (0 < x < 6),\quad 0\ \text{else}",
        0.0, 6.0, "[0, 6]", "C0", 1.0, 1.0, _RELU6_SOURCE,
    ),
    "leaky_relu": _fact(
        r"x\ (x > 0),\quad a x\ (x \le 0)",
        r"1\ (x > 0),\quad a\ (x \le 0)",
        -_INF, _INF, "(-inf, inf)", "C0", 1.0, 1.0,
        ("Maas, Hannun and Ng", 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models"),
        initialization="He: variance 2 / ((1 + a^2) fan_in)",
        parameter=("negative_slope", 0.01, (0.0, 1.0)),
    ),
    "prelu": _fact(
        r"x\ (x > 0),\quad a x\ (x \le 0),\ a \text{ learned}",
        r"1\ (x > 0),\quad a\ (x \le 0)",
        -_INF, _INF, "(-inf, inf)", "C0", 1.0, 1.0,
        ("He, Zhang, Ren and Sun", 2015, "Delving Deep into Rectifiers"),
        initialization="He: variance 2 / ((1 + a^2) fan_in)",
        parameter=("weight", 0.25, (-1.0, 1.0)),
    ),
    "elu": _fact(
        r"x\ (x > 0),\quad \alpha (e^x - 1)\ (x \le 0)",
        r"1\ (x > 0),\quad \alpha e^x\ (x \le 0)",
        -1.0, _INF, "(-alpha, inf)", "C1", 1.0, 1.0,
        (
            "Clevert, Unterthiner and Hochreiter",
            2016,
            "Fast and Accurate Deep Network Learning by Exponential Linear Units (ELUs)",
        ),
        parameter=("alpha", 1.0, (0.1, 2.0)),
    ),
    "celu": _fact(
        r"x\ (x > 0),\quad \alpha (e^{x / \alpha} - 1)\ (x \le 0)",
        r"1\ (x > 0),\quad e^{x / \alpha}\ (x \le 0)",
        -1.0, _INF, "(-alpha, inf)", "C1", 1.0, 1.0,
        ("Barron", 2017, "Continuously Differentiable Exponential Linear Units"),
        parameter=("alpha", 1.0, (0.1, 2.0)),
    ),
    "selu": _fact(
        r"\lambda x\ (x > 0),\quad \lambda \alpha (e^x - 1)\ (x \le 0)",
        r"\lambda\ (x > 0),\quad \lambda \alpha e^x\ (x \le 0)",
        -1.0507009873554805 * 1.6732632423543772, _INF, "(-1.7581, inf)", "C0",
        1.0507009873554805 * 1.6732632423543772, 1.0,
        ("Klambauer, Unterthiner, Mayr and Hochreiter", 2017, "Self-Normalizing Neural Networks"),
        initialization="LeCun: variance 1 / fan_in",
    ),
    "gelu": _fact(
        r"x \Phi(x)",
        r"\Phi(x) + x \varphi(x)",
        -0.16997120747, _INF, "[-0.17, inf)", "Cinf", 1.128904145, 1.0,
        ("Hendrycks and Gimpel", 2016, "Gaussian Error Linear Units (GELUs)"),
        monotonic=False,
    ),
    "silu": _fact(
        r"x \sigma(x)",
        r"\sigma(x) (1 + x (1 - \sigma(x)))",
        -0.27846454276, _INF, "[-0.278, inf)", "Cinf", 1.099839320, 1.0,
        (
            "Elfwing, Uchibe and Doya",
            2018,
            "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in Reinforcement Learning",
        ),
        monotonic=False,
    ),
    "swish": _fact(
        r"x \sigma(\beta x)",
        r"\sigma(\beta x) + \beta x\, \sigma'(\beta x)",
        -0.27846454276, _INF, "[-0.278 / beta, inf)", "Cinf", 1.099839320, 1.0,
        ("Ramachandran, Zoph and Le", 2017, "Searching for Activation Functions"),
        monotonic=False,
        parameter=("beta", 1.0, (0.0, 10.0)),
    ),
    "mish": _fact(
        r"x \tanh(\log(1 + e^x))",
        r"\tanh s + x \sigma(x) (1 - \tanh^2 s),\ s = \log(1 + e^x)",
        -0.30884341300, _INF, "[-0.309, inf)", "Cinf", 1.088491250, 1.0,
        ("Misra", 2020, "Mish: A Self Regularized Non-Monotonic Activation Function"),
        monotonic=False,
    ),
    "sigmoid": _fact(
        r"\frac{1}{1 + e^{-x}}",
        r"\sigma(x) (1 - \sigma(x))",
        0.0, 1.0, "(0, 1)", "Cinf", 0.25, 1.0, _SIGMOID_SOURCE,
        initialization=_XAVIER,
    ),
    "hardsigmoid": _fact(
        r"\min(\max(x + 3, 0), 6) / 6",
        r"\tfrac{1}{6}\ (-3 < x < 3),\quad 0\ \text{else}",
        0.0, 1.0, "[0, 1]", "C0", 1 / 6, 1.0, _MOBILE_SOURCE,
        initialization=_XAVIER,
    ),
    "hardswish": _fact(
        r"x \min(\max(x + 3, 0), 6) / 6",
        r"0\ (x \le -3),\quad \tfrac{x}{3} + \tfrac{1}{2},\quad 1\ (x \ge 3)",
        -0.375, _INF, "[-0.375, inf)", "C0", 1.5, 1.0, _MOBILE_SOURCE,
        monotonic=False,
    ),
    "tanh": _fact(
        r"\frac{e^x - e^{-x}}{e^x + e^{-x}}",
        r"1 - \tanh^2 x",
        -1.0, 1.0, "(-1, 1)", "Cinf", 1.0, 1.0,
        ("LeCun, Bottou, Orr and Müller", 1998, "Efficient BackProp"),
        zero_centred=True, initialization=_XAVIER,
    ),
    "softplus": _fact(
        r"\tfrac{1}{\beta} \log(1 + e^{\beta x})",
        r"\sigma(\beta x)",
        0.0, _INF, "(0, inf)", "Cinf", 1.0, 1.0,
        (
            "Dugas, Bengio, Bélisle, Nadeau and Garcia",
            2001,
            "Incorporating Second-Order Functional Knowledge for Better Option Pricing",
        ),
        parameter=("beta", 1.0, (0.1, 10.0)),
    ),
    "softsign": _fact(
        r"\frac{x}{1 + |x|}",
        r"\frac{1}{(1 + |x|)^2}",
        -1.0, 1.0, "(-1, 1)", "C1", 1.0, 1.0,
        (
            "Glorot and Bengio",
            2010,
            "Understanding the difficulty of training deep feedforward neural networks",
        ),
        zero_centred=True, initialization=_XAVIER,
    ),
}
