"""Each function of given parameters against a loop over images and pixels, in NumPy, float64."""

import math

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError
from convcraft import augmentation as A

N, C, H, W = 4, 3, 5, 7
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
PADDINGS = ["zeros", "border", "reflection"]


def pictures(*shape, dtype=torch.float64, seed=0):
    """In [0, 1], all values different."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*(shape or (N, C, H, W)), generator=g, dtype=torch.float64).to(dtype)


def fetch(image, row, col, padding, fill):
    """One pixel (all channels) at whole-number positions, also outside."""
    height, width = image.shape[1:]
    if padding == "zeros":
        inside = 0 <= row < height and 0 <= col < width
        return image[:, row, col] if inside else np.broadcast_to(np.asarray(fill, float), image.shape[0])

    def mirrored(i, size):
        i %= 2 * size
        return i if i < size else 2 * size - 1 - i

    def nearest(i, size):
        return min(max(i, 0), size - 1)

    place = nearest if padding == "border" else mirrored
    return image[:, place(row, height), place(col, width)]


def loop(images, matrices, padding="zeros", fill=0.0):
    """Every image, every pixel: undo the map, then the weighted mean of the four neighbours."""
    images = images.double().numpy()
    count, _, height, width = images.shape
    out = np.empty_like(images)
    for n in range(count):
        back = np.linalg.inv(np.vstack([matrices[n], [0, 0, 1]]))
        for h in range(height):
            for w in range(width):
                x, y, _ = back @ (w - (width - 1) / 2, h - (height - 1) / 2, 1)
                col, row = x + (width - 1) / 2, y + (height - 1) / 2
                if padding == "border":
                    col, row = min(max(col, 0), width - 1), min(max(row, 0), height - 1)
                left, upper = math.floor(col), math.floor(row)
                value = np.zeros(images.shape[1])
                for r, weight_r in ((upper, 1 - (row - upper)), (upper + 1, row - upper)):
                    for c, weight_c in ((left, 1 - (col - left)), (left + 1, col - left)):
                        value += weight_r * weight_c * fetch(images[n], r, c, padding, fill)
                out[n, :, h, w] = value
    return torch.from_numpy(out)


def turn(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0]])


def slant(x, y):
    first = np.array([[1, math.tan(math.radians(x))], [0, 1]])
    second = np.array([[1, 0], [math.tan(math.radians(y)), 1]])
    return np.hstack([second @ first, [[0], [0]]])


def move(x, y):
    return np.array([[1.0, 0, x], [0, 1, y]])


def stretch(x, y):
    return np.array([[float(x), 0, 0], [0, y, 0]])


ANGLES = torch.tensor([0.3, -27.0, 90.0, 161.0], dtype=torch.float64)
FACTORS = torch.tensor([0.8, 1.3, 1.0, 2.0], dtype=torch.float64)
PARTS = torch.tensor([0.5, -1.25, 2.75, -6.1], dtype=torch.float64)
WHOLE = torch.tensor([0, -2, 3, 9])
SKEW = torch.tensor([[[1.1, 0.2, 0.5], [-0.3, 0.9, -1.0]]] * N, dtype=torch.float64) * torch.linspace(
    1, 2, N
).view(-1, 1, 1)
GEOMETRY = {
    "rotate": (lambda x, **k: A.rotate(x, ANGLES, **k), [turn(a) for a in ANGLES.tolist()]),
    "rotate by a number": (lambda x, **k: A.rotate(x, 33, **k), [turn(33)] * N),
    "scale": (lambda x, **k: A.scale(x, FACTORS, **k), [stretch(f, f) for f in FACTORS.tolist()]),
    "scale x, y": (lambda x, **k: A.scale(x, FACTORS, 0.7, **k), [stretch(f, 0.7) for f in FACTORS.tolist()]),
    "shear": (
        lambda x, **k: A.shear(x, ANGLES / 3, 10.0, **k),
        [slant(a / 3, 10.0) for a in ANGLES.tolist()],
    ),
    "shift by parts": (
        lambda x, **k: A.shift(x, PARTS, -0.25, **k),
        [move(p, -0.25) for p in PARTS.tolist()],
    ),
    "shift by whole": (lambda x, **k: A.shift(x, WHOLE, 2, **k), [move(p, 2) for p in WHOLE.tolist()]),
    "affine": (lambda x, **k: A.affine(x, SKEW, **k), list(SKEW.numpy())),
    "one affine map": (lambda x, **k: A.affine(x, SKEW[1], **k), [SKEW[1].numpy()] * N),
}


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_equals_a_loop_over_pixels(name, padding):
    function, matrices = GEOMETRY[name]
    x = pictures()
    out = function(x, padding=padding)
    assert out.shape == x.shape and out.dtype == x.dtype
    torch.testing.assert_close(out, loop(x, matrices, padding), rtol=0, atol=1e-10)


@pytest.mark.parametrize("fill", [0.5, (0.1, -2.0, 3.0)], ids=["one", "per channel"])
@pytest.mark.parametrize("name", GEOMETRY)
def test_fill_comes_in_from_outside(name, fill):
    function, matrices = GEOMETRY[name]
    x = pictures()
    torch.testing.assert_close(function(x, fill=fill), loop(x, matrices, fill=fill), rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_in_every_precision(name, dtype):
    """Rounded once: as near to the loop in float64 on the same input as the dtype can say."""
    function, matrices = GEOMETRY[name]
    x = pictures(dtype=dtype)
    out = function(x, fill=0.5)
    assert out.dtype == dtype
    expected = loop(x, matrices, fill=0.5)
    step = {torch.float16: 2**-11, torch.bfloat16: 2**-8}.get(dtype, 0.0)
    torch.testing.assert_close(
        out.double(), expected, rtol=0, atol=step + (1e-5 if dtype != torch.float64 else 1e-10)
    )


@pytest.mark.parametrize("size", [(5, 7), (4, 4), (1, 6), (28, 28)], ids=str)
def test_whole_numbers_move_pixels_exactly(size):
    x = pictures(6, 2, *size, dtype=torch.float32)
    g = torch.Generator().manual_seed(1)
    dx, dy = (torch.randint(-8, 9, (6,), generator=g) for _ in range(2))
    for padding in PADDINGS:
        out = A.shift(x, dx, dy, padding=padding)
        for n in range(6):
            expected = [
                [fetch(x[n].numpy(), int(r - dy[n]), int(c - dx[n]), padding, 0.0) for c in range(size[1])]
                for r in range(size[0])
            ]
            assert np.array_equal(np.asarray(expected).transpose(2, 0, 1), out[n].numpy())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_flips_are_exact_and_undo_themselves(dtype):
    x = pictures(dtype=dtype)
    where = torch.tensor([True, False, True, False])
    for function, dim in ((A.horizontal_flip, -1), (A.vertical_flip, -2)):
        assert torch.equal(function(x), x.flip(dim))
        assert function(x, False) is x
        out = function(x, where)
        for n in range(N):
            assert torch.equal(out[n], x[n].flip(dim) if where[n] else x[n])
        assert torch.equal(function(out, where), x)


def test_quarter_turns_are_exact():
    square, oblong = pictures(N, C, 6, 6), pictures()
    for turns in range(-5, 6):
        assert torch.equal(A.rotate(square, 90 * turns), torch.rot90(square, turns, (-2, -1)))
        assert torch.equal(A.rotate(oblong, 180.0 * turns), torch.rot90(oblong, 2 * turns, (-2, -1)))


IDENTITIES = {
    "horizontal_flip": lambda x: A.horizontal_flip(x, torch.zeros(len(x), dtype=torch.bool)),
    "shift 0": lambda x: A.shift(x),
    "shift by a tensor of 0": lambda x: A.shift(x, torch.zeros(len(x))),
    "shift by an integer tensor of 0": lambda x: A.shift(x, torch.zeros(len(x), dtype=torch.int64), 0),
    "rotate 0": lambda x: A.rotate(x, 0.0, padding="border"),
    "rotate 360": lambda x: A.rotate(x, 360),
    "rotate by a tensor of 0": lambda x: A.rotate(x, torch.zeros(len(x)), fill=0.3),
    "scale 1": lambda x: A.scale(x, 1.0),
    "scale by a tensor of 1": lambda x: A.scale(x, torch.ones(len(x)), torch.ones(())),
    "shear 0": lambda x: A.shear(x),
    "shear by a tensor of 0": lambda x: A.shear(x, torch.zeros(len(x)), torch.zeros(len(x))),
    "affine": lambda x: A.affine(x, torch.eye(3)[:2]),
    "affine, each": lambda x: A.affine(x, torch.eye(3)[:2].expand(len(x), 2, 3), padding="border"),
    "brightness 0": lambda x: A.brightness(x, 0.0, clip=(0.0, 1.0)),
    "brightness by a tensor of 0": lambda x: A.brightness(x, torch.zeros(len(x)), clip=(0.0, 1.0)),
    "contrast 1": lambda x: A.contrast(x, 1.0),
    "contrast by a tensor of 1": lambda x: A.contrast(x, torch.ones(len(x))),
    "noise 0": lambda x: A.noise(x, 0.0),
    "noise by a tensor of 0": lambda x: A.noise(x, torch.zeros(len(x))),
    "erase nothing": lambda x: A.erase(x, 2, 2, 0, 3),
    "erase outside": lambda x: A.erase(x, -4, 0, 4, 99),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", IDENTITIES)
def test_settings_that_change_nothing_change_no_bit(name, dtype):
    x = pictures(3, 2, 28, 13, dtype=dtype)
    out = IDENTITIES[name](x)
    assert out.dtype == dtype and torch.equal(out, x)


def test_only_the_images_that_move_are_touched():
    x = pictures(3, 2, 28, 13, dtype=torch.float32)
    out = A.rotate(x, torch.tensor([0.0, 5.0, 0.0]))
    assert torch.equal(out[0], x[0]) and torch.equal(out[2], x[2]) and not torch.equal(out[1], x[1])


def test_an_affine_map_of_maps_is_the_maps_one_by_one():
    """Whole-pixel maps in a frame that keeps everything: composition without interpolation."""
    x = torch.zeros(1, 1, 9, 9)
    x[..., 3:6, 3:6] = pictures(1, 1, 3, 3, dtype=torch.float32)
    quarter = torch.tensor([[0.0, 1.0, 1.0], [-1.0, 0.0, 2.0]])
    assert torch.allclose(A.affine(x, quarter), A.shift(A.rotate(x, 90), 1, 2), atol=1e-6)


AMOUNTS = torch.tensor([0.0, -0.3, 0.2, 1.5], dtype=torch.float64)
CLIPS = [None, (0.2, 0.9), ((0.0, 0.1, 0.2), 1.0), ((0.0, 0.1, 0.2), (0.5, 0.6, 0.7))]


def clip_one(image, clip):
    if clip is None:
        return image
    low, high = (np.asarray(end, float).reshape(-1, 1, 1) for end in clip)
    return np.minimum(np.maximum(image, low), high)


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_brightness_and_contrast_equal_a_loop_over_images(clip):
    x = pictures()
    light, strong = A.brightness(x, AMOUNTS, clip=clip), A.contrast(x, AMOUNTS.abs(), clip=clip)
    for n in range(N):
        image, a = x[n].numpy(), AMOUNTS[n].item()
        assert np.allclose(light[n].numpy(), clip_one(image + a, clip), rtol=0, atol=1e-14)
        mean = image.mean()
        assert np.allclose(
            strong[n].numpy(), clip_one((image - mean) * abs(a) + mean, clip), rtol=0, atol=1e-14
        )
    assert torch.allclose(A.brightness(x, 0.25), x + 0.25)
    assert torch.allclose(A.contrast(x, 0.0).std((1, 2, 3)), torch.zeros(N, dtype=x.dtype), atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_in_every_precision_and_within_the_clip(dtype):
    x = pictures(dtype=dtype)
    g = torch.Generator().manual_seed(0)
    for out in (
        A.brightness(x, AMOUNTS, clip=(0.0, 1.0)),
        A.contrast(x, AMOUNTS.abs() * 3, clip=(0.0, 1.0)),
        A.noise(x, AMOUNTS.abs(), clip=(0.0, 1.0), generator=g),
    ):
        assert out.dtype == dtype and 0 <= out.min() and out.max() <= 1 and not torch.equal(out, x)
    wide = pictures()
    for function in (lambda v: A.brightness(v, AMOUNTS), lambda v: A.contrast(v, AMOUNTS.abs())):
        torch.testing.assert_close(function(x).double(), function(wide), rtol=0, atol=4 * TOLERANCE[dtype])


def test_contrast_of_half_precision_takes_the_mean_in_single():
    """The mean of 300 x 300 values of 100: a sum in float16 overflows."""
    x = torch.full((1, 1, 300, 300), 100.0, dtype=torch.float16)
    assert torch.equal(A.contrast(x, 0.5), x)


def test_noise_is_normal_scaled_and_independent():
    x = torch.zeros(3, 2, 200, 200)
    std = torch.tensor([0.0, 0.5, 2.0])
    out = A.noise(x, std, generator=torch.Generator().manual_seed(0))
    assert torch.equal(out[0], x[0])
    for n in (1, 2):
        values = out[n].flatten() / std[n]
        assert abs(values.mean()) < 4 / 80_000**0.5 and abs(values.std() - 1) < 4 / 160_000**0.5
        assert abs((values.abs() < 1).float().mean() - 0.6827) < 0.007
    assert abs(torch.corrcoef(torch.stack([out[1].flatten(), out[2].flatten()]))[0, 1]) < 4 / 80_000**0.5
    assert abs(torch.corrcoef(torch.stack([out[1, 0].flatten(), out[1, 1].flatten()]))[0, 1]) < 4 / 200


def test_noise_is_the_same_for_every_dtype_and_layout():
    def drawn(x):
        return A.noise(x, 0.1, generator=torch.Generator().manual_seed(4))

    x = pictures()
    single = drawn(x.float())
    assert torch.equal(drawn(x.float().contiguous(memory_format=torch.channels_last)), single)
    torch.testing.assert_close(drawn(x).float(), single, rtol=0, atol=1e-6)
    torch.testing.assert_close(drawn(x.bfloat16()).float(), single, rtol=0, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 2.5, (1.0, -1.0, 7.0)], ids=str)
def test_erase_equals_a_loop_over_images(value):
    x = pictures(dtype=torch.float32)
    left, top = torch.tensor([0, -1, 5, 2]), torch.tensor([3, -2, 4, 1])
    wide, high = torch.tensor([2, 4, 9, 0]), torch.tensor([1, 3, 9, 5])
    out = A.erase(x, left, top, wide, high, value=value)
    expected = x.clone()
    for n in range(N):
        c0, r0 = max(left[n].item(), 0), max(top[n].item(), 0)
        c1, r1 = max((left + wide)[n].item(), 0), max((top + high)[n].item(), 0)
        expected[n, :, r0:r1, c0:c1] = torch.tensor(value).view(-1, 1, 1)
    assert torch.equal(out, expected)
    assert torch.equal(
        A.erase(x, 1, 2, 3, 2, value=value)[1, :, 2:4, 1:4],
        A.erase(x[1:2], 1, 2, 3, 2, value=value)[0, :, 2:4, 1:4],
    )


CALLS = {
    **{name: function for name, (function, _) in GEOMETRY.items()},
    "horizontal_flip": lambda x: A.horizontal_flip(x, torch.tensor([True, False, True, False])),
    "vertical_flip": lambda x: A.vertical_flip(x),
    "brightness": lambda x: A.brightness(x, AMOUNTS),
    "contrast": lambda x: A.contrast(x, AMOUNTS.abs()),
    "noise": lambda x: A.noise(x, AMOUNTS.abs(), generator=torch.Generator().manual_seed(0)),
    "erase": lambda x: A.erase(x, 1, 1, 3, 2),
    "fill": lambda x: A.rotate(x, ANGLES, fill=(1.0, 2.0, 3.0)),
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_reach_the_images(name):
    x = pictures(N, C, 3, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(CALLS[name], x)
    assert torch.autograd.grad(CALLS[name](x).sum(), x)[0].abs().sum() > 0


def test_gradients_reach_the_parameters():
    x = pictures(N, C, 6, 6)
    angle = torch.tensor([3.0, 10.0, -20.0, 40.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: A.rotate(x, a), angle)
    assert torch.autograd.gradcheck(lambda a: A.brightness(x, a), angle)
    assert torch.autograd.gradcheck(lambda a: A.contrast(x, a), angle.detach().abs().requires_grad_())


@pytest.mark.parametrize("name", CALLS)
def test_memory_format_is_kept_and_changes_no_value(name):
    x = pictures(dtype=torch.float32)
    laid_out = x.contiguous(memory_format=torch.channels_last)
    out, expected = CALLS[name](laid_out), CALLS[name](x)
    assert out.is_contiguous(memory_format=torch.channels_last) and expected.is_contiguous()
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)
    strided = pictures(N, C, H, 2 * W, dtype=torch.float32)[..., ::2]
    torch.testing.assert_close(CALLS[name](strided), CALLS[name](strided.contiguous()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (1, 3, 1, 1)], ids=str)
def test_empty_and_single_pixel_batches(shape):
    x = pictures(*shape)
    for function in (
        lambda v: A.rotate(v, 10),
        lambda v: A.shift(v, 1),
        lambda v: A.shift(v, torch.full((len(v),), 0.5)),
        A.horizontal_flip,
        lambda v: A.contrast(v, 0.5),
        lambda v: A.brightness(v, 0.5),
        lambda v: A.noise(v, 0.5),
        lambda v: A.erase(v, 0, 0, 1, 1),
    ):
        assert function(x).shape == x.shape


@pytest.mark.parametrize("name", [name for name in CALLS if name != "noise"])
def test_autocast_changes_nothing(name):
    x = pictures(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = CALLS[name](x)
    assert out.dtype == torch.float32 and torch.equal(out, CALLS[name](x))


@pytest.mark.parametrize("name", [name for name in CALLS if name != "noise"])
def test_vmap_over_batches(name):
    x = torch.stack([pictures(), pictures(seed=1)])
    out = torch.func.vmap(CALLS[name])(x)
    torch.testing.assert_close(out, torch.stack([CALLS[name](part) for part in x]))


def test_vmap_over_parameters():
    x, angles = pictures(), torch.stack([ANGLES, -ANGLES])
    out = torch.func.vmap(A.rotate, in_dims=(None, 0))(x, angles)
    torch.testing.assert_close(out, torch.stack([A.rotate(x, a) for a in angles]))
    grey = torch.func.vmap(A.contrast, in_dims=(None, 0))(x, angles.abs())
    torch.testing.assert_close(grey, torch.stack([A.contrast(x, a.abs()) for a in angles]))


WRONG = [
    (lambda x: A.rotate(x.numpy(), 3), "rotate: images must be a torch.Tensor"),
    (lambda x: A.rotate((255 * x).byte(), 3), "images must have a floating-point dtype, got torch.uint8"),
    (lambda x: A.rotate(x[0], 3), r"images must have shape \(N, C, H, W\), got 3 dim"),
    (lambda x: A.rotate(x, "3"), "degrees must be a finite number, got '3'"),
    (lambda x: A.rotate(x, True), "degrees must be a finite number"),
    (lambda x: A.rotate(x, math.nan), "degrees must be a finite number"),
    (lambda x: A.rotate(x, torch.ones(3)), "one for each of the 4 images"),
    (lambda x: A.rotate(x, torch.ones(4, 1)), "one for each of the 4 images"),
    (lambda x: A.rotate(x, torch.tensor([1.0, math.inf, 0, 0])), "degrees must be finite"),
    (lambda x: A.rotate(x, torch.ones(4, dtype=torch.complex64)), "degrees must hold real numbers"),
    (lambda x: A.rotate(x, torch.ones(4, dtype=torch.bool)), "degrees must hold real numbers"),
    (lambda x: A.rotate(x, torch.ones(4, device="meta")), "degrees must be on the device of the images, cpu"),
    (lambda x: A.rotate(x, 3, padding="reflect"), "unknown value of rotate's argument padding 'reflect'"),
    (lambda x: A.rotate(x, 3, padding="border", fill=1.0), "fill needs padding='zeros'"),
    (lambda x: A.rotate(x, 3, fill="black"), "fill must be a finite number, or a tuple or list"),
    (lambda x: A.rotate(x, 3, fill=()), "fill must be a finite number, or a tuple or list"),
    (lambda x: A.rotate(x, 3, fill=(1.0, 2.0)), "fill must hold one number for each of the 3 channels"),
    (lambda x: A.rotate(x, 0, fill=(1.0, 2.0)), "fill must hold one number for each of the 3 channels"),
    (lambda x: A.scale(x, 0.0), "scale: x must be positive"),
    (lambda x: A.scale(x, 1.0, torch.tensor([1.0, 1.0, -1.0, 1.0])), "scale: y must be positive"),
    (lambda x: A.shear(x, 90.0), "shear: x must be between -90 and 90"),
    (lambda x: A.shear(x, 0.0, torch.tensor(-91.0)), "shear: y must be between -90 and 90"),
    (lambda x: A.affine(x, torch.eye(3)), r"matrix must be a floating-point tensor \(2, 3\) or \(4, 2, 3\)"),
    (lambda x: A.affine(x, torch.eye(3)[:2].long()), "matrix must be a floating-point tensor"),
    (lambda x: A.affine(x, [[1, 0, 0], [0, 1, 0]]), "matrix must be a floating-point tensor"),
    (lambda x: A.affine(x, torch.zeros(2, 3)), "matrix must have an inverse"),
    (lambda x: A.affine(x, torch.eye(3, device="meta")[:2]), "matrix must be on the device"),
    (lambda x: A.horizontal_flip(x, torch.ones(4)), "where must be a bool, or a bool tensor"),
    (lambda x: A.vertical_flip(x, 1), "vertical_flip: where must be a bool"),
    (lambda x: A.horizontal_flip(x, torch.ones(3, dtype=torch.bool)), "one for each of the 4 images"),
    (
        lambda x: A.vertical_flip(x, torch.ones(4, dtype=torch.bool, device="meta")),
        "where must be on the dev",
    ),
    (lambda x: A.brightness(x, 0.1, clip=1.0), r"clip must be None or a pair \(low, high\)"),
    (lambda x: A.brightness(x, 0.1, clip=(1.0, 0.0)), "clip must be .* low <= high"),
    (lambda x: A.brightness(x, 0.1, clip=((0.0, 1.0), (1.0, 2.0, 3.0))), "clip must be .* low <= high"),
    (lambda x: A.brightness(x, 0.1, clip=((0.0, 0.9, 0.0), 0.5)), "clip must be .* low <= high"),
    (lambda x: A.brightness(x, 0.1, clip=("a", 1.0)), "clip must be a finite number, or a tuple"),
    (lambda x: A.brightness(x, 0.1, clip=((0.0, 0.1), 1.0)), "clip must hold one number for each of the 3"),
    (lambda x: A.contrast(x, -0.1), "factor must be 0 or more"),
    (lambda x: A.contrast(x, torch.tensor([1.0, -1.0, 1.0, 1.0])), "factor must be 0 or more"),
    (lambda x: A.noise(x, -0.1), "std must be 0 or more"),
    (lambda x: A.noise(x, torch.tensor([1.0, -1.0, 1.0, 1.0])), "std must be 0 or more"),
    (lambda x: A.noise(x, 0.1, generator=3), "generator must be a torch.Generator or None, got int"),
    (lambda x: A.noise(x.to("meta"), 0.1, generator=torch.Generator()), "generator must be on the device"),
    (lambda x: A.erase(x, 0, 0, -1, 2), "width must be 0 or more"),
    (lambda x: A.erase(x, 0, 0, 1, torch.tensor([1, 1, -1, 1])), "height must be 0 or more"),
    (lambda x: A.erase(x, 0, 0, 1, 1, value=None), "value must be a finite number, or a tuple"),
    (lambda x: A.erase(x, 0, 0, 1, 1, value=[1.0, 2.0]), "value must hold one number for each of the 3 chan"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments_are_refused(call, message):
    x = pictures()
    before = x.clone()
    with pytest.raises(ConvcraftError, match=message):
        call(x)
    assert torch.equal(x, before)


ERRORS = [(lambda call=call: call(pictures()), message) for call, message in WRONG]
