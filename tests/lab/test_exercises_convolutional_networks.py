"""The checks of the exercises on convolutional networks accept what is right and say what is wrong."""

import numpy as np
import pytest
import torch
from torch import nn

from convcraft import reference
from convcraft.lab import models
from convcraft.lab.exercises import check, names

NAMES = {
    "map-sizes",
    "weight-count",
    "receptive-field",
    "convolution-backward",
    "blind-pixels",
    "shift-proof",
    "border-tells",
    "which-strides",
}


def transposed(g, w):
    """dL/dx by the matrix of the convolution."""
    k, m = len(w), len(g)
    n = m + k - 1
    gradient = np.zeros((n, n))
    for i, j in np.ndindex(m, m):
        gradient[i : i + k, j : j + k] += g[i, j] * w
    return gradient


def convnet(**arguments):
    return models.build("convnet", seed=0, **arguments)


def blind():
    return nn.Sequential(nn.Conv2d(1, 8, 1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))


def no_dilation(layers):
    return reference.receptive_field([(k, s) for k, s, _ in layers])


def stride_too_early(layers):
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        jump *= stride
        field += (kernel - 1) * dilation * jump
    return field


RIGHT = [
    ("map-sizes", (24, 12, 6, 3)),
    ("weight-count", (18_496, 102_500)),
    ("receptive-field", reference.receptive_field),
    ("convolution-backward", transposed),
    ("blind-pixels", convnet()),
    ("border-tells", [[0, 0, 0], [0, 0, 1], [0, 0, 0]]),
    ("which-strides", "B"),
]
WRONG = [
    ("map-sizes", (28, 14, 7, 3), "Without padding the kernel"),
    ("map-sizes", (24, 12, 5, 2), "build on this one"),
    ("map-sizes", (24, 12), "Give 4 numbers"),
    ("weight-count", (18_432, 102_500), "biases are missing"),
    ("weight-count", (640, 102_500), "32 input maps"),
    ("weight-count", (1, 1), "for each pair"),
    ("weight-count", (18_496, 102_400), "dense layer: the biases"),
    ("weight-count", (18_496, 6_500), "not 64 numbers"),
    ("weight-count", (18_496, 3), "too small"),
    ("weight-count", (18_496,), "Give 2 numbers"),
    ("receptive-field", no_dilation, "dilation spreads"),
    ("receptive-field", stride_too_early, "own stride"),
    ("receptive-field", lambda layers: None, "no layer at all"),
    ("convolution-backward", lambda g, w: transposed(g, w[::-1, ::-1]), "wrong way round"),
    ("convolution-backward", lambda g, w: reference.conv2d(g[None, None], w[None, None])[0, 0], "the border"),
    ("convolution-backward", lambda g, w: 2 * transposed(g, w), "by pixel (0, 0) is wrong. Which outputs"),
    ("convolution-backward", lambda g, w: transposed(g, w)[:, :-1], "should have shape (5, 5)"),
    ("convolution-backward", lambda g, w: None, "nothing was returned"),
    ("border-tells", [1, 0, -1], "three rows and three columns"),
    ("border-tells", [[1, 0, 1]] * 3, "0.04688 for both images"),
    ("which-strides", "A", "makes all shifts alike"),
    ("which-strides", "E", "one letter of A, B, C, D"),
    ("blind-pixels", blind(), "48 of the 64 pixels"),
    ("blind-pixels", nn.Flatten(), "shape (64, 10)"),
    ("blind-pixels", models.MLP((64, 1000, 10)), "75,010 parameters"),
    ("shift-proof", convnet(size=16), "85% are asked for"),
    ("shift-proof", lambda x: x.missing, "AttributeError"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_pass(name, answer):
    result = check(name, answer)
    assert result, result


@pytest.mark.parametrize(("name", "answer", "said"), WRONG)
def test_wrong_answers_are_told_what_is_wrong(name, answer, said):
    result = check(name, answer)
    assert not result
    assert said in repr(result)


def test_every_exercise_is_registered_and_open_before_it_is_answered():
    assert set(names()) >= NAMES
    for name in NAMES:
        result = check(name, ...)
        assert not result
        assert "Not answered yet" in repr(result)


def test_a_shift_of_one_pixel_is_measured():
    from convcraft.lab.exercises.convolutional_networks import _canvas

    x, y = _canvas()
    table = {image.numpy().tobytes(): int(label) for image, label in zip(x, y, strict=True)}

    def centred_only(images):
        known = torch.tensor([table.get(image.numpy().tobytes(), -1) for image in images])
        return nn.functional.one_hot(known.clamp(min=0), 10).float() * (known >= 0)[:, None] + 1e-3

    def everywhere(images):
        values = {np.sort(image.numpy().ravel()).tobytes(): table[image.numpy().tobytes()] for image in x}
        known = [values[np.sort(image.numpy().ravel()).tobytes()] for image in images]
        return nn.functional.one_hot(torch.tensor(known), 10)

    assert "a loss of more than two points" in repr(check("shift-proof", centred_only))
    assert check("shift-proof", everywhere)
