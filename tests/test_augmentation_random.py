"""Modules: what they draw, for whom, from where, and when they do nothing; composition."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft import augmentation as A
from convcraft.augmentation.random_geometry import Spatial

MODULES = {
    "RandomHorizontalFlip": lambda **k: A.RandomHorizontalFlip(**k),
    "RandomVerticalFlip": lambda **k: A.RandomVerticalFlip(**k),
    "RandomShift": lambda **k: A.RandomShift(3, **k),
    "RandomShift, subpixel": lambda **k: A.RandomShift((2.5, 1.0), subpixel=True, padding="reflection", **k),
    "RandomRotation": lambda **k: A.RandomRotation(20, fill=(0.1, 0.2, 0.3), **k),
    "RandomScale": lambda **k: A.RandomScale((0.7, 1.3), **k),
    "RandomShear": lambda **k: A.RandomShear(10, padding="border", **k),
    "RandomAffine": lambda **k: A.RandomAffine(
        10, shift=2, scale=0.1, shear=(-5, 15), horizontal_flip=0.5, vertical_flip=0.2, **k
    ),
    "RandomErasing": lambda **k: A.RandomErasing(4, value=0.5, **k),
    "RandomErasing, sizes": lambda **k: A.RandomErasing((2, 6), **k),
    "RandomBrightness": lambda **k: A.RandomBrightness(0.3, clip=(0.0, 1.0), **k),
    "RandomContrast": lambda **k: A.RandomContrast(0.5, clip=(0.0, 1.0), **k),
    "RandomNoise": lambda **k: A.RandomNoise((0.01, 0.1), **k),
}
ALL = {
    **MODULES,
    "Compose": lambda **k: A.Compose(
        A.RandomHorizontalFlip(**k), A.RandomShift(2, **k), A.RandomNoise(0.1, **k), A.RandomRotation(9, **k)
    ),
}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def images(n=16, c=3, h=9, w=12, dtype=torch.float32, seed=0):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ALL)
def test_a_generator_alone_decides_what_is_drawn(name):
    x = images()
    state = torch.get_rng_state()
    first, again = (ALL[name](generator=seeded(7))(x) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, x)
    module = ALL[name]()
    assert torch.equal(module(x, seeded(7)), first)
    assert torch.equal(ALL[name](generator=seeded(8))(x, seeded(7)), first)
    assert not torch.equal(ALL[name](generator=seeded(8))(x), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ALL)
def test_without_a_generator_torchs_own_is_used(name):
    x, module, out = images(), ALL[name](), []
    for seed in (3, 3, 4):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            out.append(module(x))
    assert torch.equal(out[0], out[1]) and not torch.equal(out[0], out[2])


@pytest.mark.parametrize("name", ALL)
def test_consecutive_calls_and_neighbouring_images_differ(name):
    x = images(1).expand(64, -1, -1, -1)
    module = ALL[name](generator=seeded())
    first, second = module(x), module(x)
    assert not torch.equal(first, second)
    different = {tuple(image.flatten().tolist()) for image in first}
    assert len(different) >= 2
    if name not in ("RandomHorizontalFlip", "RandomVerticalFlip"):
        assert len(different) > 20


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("RandomNoise", "Compose")])
def test_each_image_depends_on_its_own_draw_alone(name):
    """With the draws held, changing one image changes that image of the output and no other."""
    x = images()
    changed = x.clone()
    changed[5] = images(seed=9)[5]
    before, after = (ALL[name](generator=seeded())(v) for v in (x, changed))
    others = [n for n in range(len(x)) if n != 5]
    assert torch.equal(before[others], after[others]) and not torch.equal(before[5], after[5])


@pytest.mark.parametrize("name", ALL)
def test_eval_mode_gives_the_same_tensor_back_and_draws_nothing(name):
    x, g = images(), seeded()
    module, state = ALL[name](generator=g).eval(), g.get_state()
    assert module(x) is x and torch.equal(g.get_state(), state)
    assert not torch.equal(module.train()(x), x)


IDENTITIES = {
    "p=0": [lambda make=make: make(p=0.0) for make in MODULES.values()],
    "settings": [
        lambda: A.RandomShift(0),
        lambda: A.RandomShift(0.0, subpixel=True),
        lambda: A.RandomRotation(0),
        lambda: A.RandomScale((1.0, 1.0)),
        lambda: A.RandomScale(0.0),
        lambda: A.RandomShear(0.0),
        lambda: A.RandomAffine(),
        lambda: A.RandomErasing(0),
        lambda: A.RandomBrightness(0.0),
        lambda: A.RandomContrast(0.0),
        lambda: A.RandomNoise(0.0),
        lambda: A.Compose(),
        lambda: A.Compose(A.RandomAffine(), A.RandomShift(0)),
    ],
}


@pytest.mark.parametrize("kind", IDENTITIES)
def test_settings_that_change_nothing_give_the_same_tensor_back(kind):
    x, g = images(), seeded()
    state = g.get_state()
    for make in IDENTITIES[kind]:
        assert make()(x, g) is x
    assert torch.equal(g.get_state(), state)


@pytest.mark.parametrize("name", MODULES)
def test_p_is_the_share_of_images_and_the_others_keep_every_bit(name):
    x = images(4000, 3, 5, 6)
    out = MODULES[name](p=0.3, generator=seeded(2))(x)
    same = (out == x).flatten(1).all(1)
    changed = 1 - same.float().mean()
    # one draw of 49 shifts by nothing
    expected = 0.3 * 48 / 49 if name == "RandomShift" else 0.3
    assert abs(changed - expected) < 4 * math.sqrt(0.3 * 0.7 / 4000)


@pytest.mark.parametrize("name", ["RandomHorizontalFlip", "RandomVerticalFlip"])
def test_a_flip_of_certainty_is_the_function(name):
    x = images()
    function = A.horizontal_flip if "Horizontal" in name else A.vertical_flip
    assert torch.equal(MODULES[name](p=1.0)(x), function(x))


def test_shifts_are_uniform_whole_numbers_and_equal_a_loop():
    x = images(3000, 1, 7, 7)
    out = A.RandomShift((2, 1), generator=seeded())(x)
    counts = torch.zeros(3, 5)
    for image, moved in zip(x, out, strict=True):
        found = []
        for dy in (-1, 0, 1):
            for dx in (-2, -1, 0, 1, 2):
                plain = torch.zeros_like(image)
                plain[:, max(dy, 0) : 7 + min(dy, 0), max(dx, 0) : 7 + min(dx, 0)] = image[
                    :, max(-dy, 0) : 7 + min(-dy, 0), max(-dx, 0) : 7 + min(-dx, 0)
                ]
                if torch.equal(plain, moved):
                    found.append((dy + 1, dx + 2))
        assert len(found) == 1
        counts[found[0]] += 1
    assert ((counts - 200).abs() < 5 * math.sqrt(200)).all()


def drawn(module, n=4000, h=12, w=12):
    """The maps that a module draws for n images, as (n, 2, 3)."""
    matrix, selected = module.draw(torch.zeros(n, 1, h, w), module.generator)
    rows = [torch.as_tensor(entry, dtype=torch.float32).expand(n) for entry in matrix]
    return torch.stack(rows, 1).view(n, 2, 3), selected


def is_uniform(values, low, high):
    """Kolmogorov-Smirnov distance of n = 4000 values below 1.95 / sqrt(n), the 0.1 % point."""
    ranks = torch.arange(1, len(values) + 1) / len(values)
    scaled = (values.sort().values - low) / (high - low)
    return (scaled - ranks).abs().max() < 1.95 / math.sqrt(len(values)) + 1 / len(values)


def test_the_ranges_of_random_affine():
    m, _ = drawn(A.RandomRotation((-10, 30), generator=seeded()))
    assert is_uniform(torch.rad2deg(torch.atan2(m[:, 0, 1], m[:, 0, 0])), -10, 30)
    m, _ = drawn(A.RandomScale((0.5, 2.0), generator=seeded()))
    assert is_uniform(m[:, 0, 0], 0.5, 2.0) and torch.equal(m[:, 0, 0], m[:, 1, 1])
    m, _ = drawn(A.RandomShear(20, generator=seeded()))
    assert is_uniform(torch.rad2deg(torch.atan(m[:, 0, 1])), -20, 20) and (m[:, 1, 0] == 0).all()
    m, _ = drawn(A.RandomShift((2.5, 0.5), subpixel=True, generator=seeded()))
    assert is_uniform(m[:, 0, 2], -2.5, 2.5) and is_uniform(m[:, 1, 2], -0.5, 0.5)
    assert abs(torch.corrcoef(m[:, :, 2].T)[0, 1]) < 4 / math.sqrt(4000)
    m, _ = drawn(A.RandomAffine(horizontal_flip=0.25, vertical_flip=0.75, generator=seeded()))
    for entry, p in ((m[:, 0, 0], 0.25), (m[:, 1, 1], 0.75)):
        assert set(entry.tolist()) == {-1.0, 1.0}
        assert abs((entry < 0).float().mean() - p) < 4 * math.sqrt(p * (1 - p) / 4000)


def test_random_affine_is_flip_then_scale_shear_rotate_shift():
    module = A.RandomAffine(
        40, shift=(2, 3), scale=0.4, shear=20, horizontal_flip=0.5, vertical_flip=0.5, generator=seeded()
    )
    m, _ = drawn(module, 50)
    g, n = seeded(), 50

    def take(low, high):
        return torch.rand(n, generator=g) * (high - low) + low

    flips = [1 - 2 * (torch.rand(n, generator=g) < 0.5).float() for _ in range(2)]
    factor, slant, angle = take(0.6, 1.4), torch.deg2rad(take(-20, 20)), torch.deg2rad(take(-40, 40))
    x, y = take(-2, 2), take(-3, 3)
    for i in range(n):
        flip = torch.diag(torch.stack([flips[0][i], flips[1][i]]))
        shear = torch.tensor([[1.0, math.tan(slant[i])], [0.0, 1.0]])
        c, s = math.cos(angle[i]), math.sin(angle[i])
        turn = torch.tensor([[c, s], [-s, c]])
        torch.testing.assert_close(m[i, :, :2], turn @ shear @ (factor[i] * flip), rtol=1e-5, atol=1e-5)
        assert m[i, 0, 2] == x[i] and m[i, 1, 2] == y[i]


def test_random_affine_equals_the_function_image_by_image():
    x = images(8, 3, 8, 11)
    for padding in ("zeros", "border", "reflection"):
        module = A.RandomAffine(30, shift=2, scale=0.2, horizontal_flip=0.5, padding=padding, p=0.7)
        moves = module.draw(x, seeded())
        out = module(x, seeded())
        rows = torch.stack([torch.as_tensor(e, dtype=torch.float32).expand(8) for e in moves.matrix], 1)
        for i in range(8):
            alone = A.affine(x[i : i + 1], rows[i].view(2, 3), padding=padding)
            torch.testing.assert_close(out[i : i + 1], alone, rtol=0, atol=1e-5)
            assert moves.selected[i] or torch.equal(out[i], x[i])


def test_erased_places_are_uniform_and_sizes_as_told():
    x = torch.ones(4000, 2, 8, 9)
    out = A.RandomErasing(3, generator=seeded())(x)
    gone = (out == 0).float()
    assert torch.equal(gone[:, 0], gone[:, 1])
    # a pixel is covered by the centres within one of it
    rows, cols = torch.tensor([2.0] + [3.0] * 6 + [2.0]), torch.tensor([2.0] + [3.0] * 7 + [2.0])
    expected = rows[:, None] * cols / 72
    assert ((gone[:, 0].mean(0) - expected).abs() < 4.5 * (expected * (1 - expected) / 4000).sqrt()).all()
    sizes = A.RandomErasing((1, 2), generator=seeded())(torch.ones(4000, 1, 50, 50)).eq(0)
    heights, widths = sizes.any(3).sum((1, 2)), sizes.any(2).sum((1, 2))
    assert set(heights.tolist()) <= {1, 2} and set(widths.tolist()) <= {1, 2}
    for pair in ((1, 1), (1, 2), (2, 1), (2, 2)):
        share = ((heights == pair[0]) & (widths == pair[1])).float().mean()
        assert abs(share - 0.25) < 0.05  # slightly more small ones: the edge cuts


def test_brightness_contrast_and_noise_draw_from_their_ranges():
    x = images(4000, 1, 4, 5)
    amount = (A.RandomBrightness((-0.1, 0.4), generator=seeded())(x) - x).mean((1, 2, 3))
    assert is_uniform(amount, -0.1, 0.4)
    out = A.RandomContrast(0.4, generator=seeded())(x)
    assert is_uniform((out.std((1, 2, 3)) / x.std((1, 2, 3))), 0.6, 1.4)
    assert torch.allclose(out.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-6)
    wide = torch.zeros(500, 1, 40, 40)
    std = A.RandomNoise((0.5, 1.5), generator=seeded())(wide).std((1, 2, 3))
    assert 0.45 < std.min() < 0.6 and 1.4 < std.max() < 1.6
    assert torch.allclose(A.RandomNoise(0.2, generator=seeded())(wide).std(), torch.tensor(0.2), rtol=0.01)


@pytest.mark.parametrize("name", ALL)
def test_range_dtype_and_layout(name):
    for dtype in DTYPES:
        x = images(8, dtype=dtype)
        out = ALL[name](generator=seeded())(x)
        assert out.dtype == dtype and out.shape == x.shape and out.isfinite().all()
        if "Noise" not in name and name != "Compose":
            assert -1e-3 <= out.min() and out.max() <= 1 + 8e-3
        laid_out = x.contiguous(memory_format=torch.channels_last)
        moved = ALL[name](generator=seeded())(laid_out)
        assert moved.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(moved, out, rtol=0, atol=1e-6 if dtype.itemsize > 2 else 1e-2)


@pytest.mark.parametrize("name", ALL)
def test_a_seed_means_the_same_in_every_precision(name):
    wide = ALL[name](generator=seeded())(images(8, dtype=torch.float64))
    for dtype in DTYPES[1:]:
        out = ALL[name](generator=seeded())(images(8, dtype=dtype))
        torch.testing.assert_close(out.double(), wide, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.03)


@pytest.mark.parametrize("name", ALL)
def test_standardized_images(name):
    """What moves pixels commutes with standardizing, when black comes in as black."""
    x = images(8)
    if name in (
        "RandomErasing",
        "RandomErasing, sizes",
        "RandomBrightness",
        "RandomContrast",
        "RandomNoise",
        "Compose",
    ):
        out = MODULES.get(name, ALL[name])(generator=seeded())((x - 0.5) / 0.25)
        assert out.isfinite().all()
        return
    module = MODULES[name](generator=seeded())
    expected = (module(x) - 0.5) / 0.25
    module.generator = seeded()
    if module.padding == "zeros":
        fill = module.fill if isinstance(module.fill, tuple) else (module.fill,) * 3
        module.fill = tuple((value - 0.5) / 0.25 for value in fill)
    torch.testing.assert_close(module((x - 0.5) / 0.25), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_the_images(name):
    x = images(4, 2, 5, 6, dtype=torch.float64).requires_grad_(True)
    if "RandomRotation" in name:
        x = images(4, 3, 5, 6, dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: ALL[name]()(v, seeded()), x)
    (slope,) = torch.autograd.grad(ALL[name]()(x, seeded()).sum(), x)
    assert slope.abs().sum() > 0


@pytest.mark.parametrize("name", ALL)
def test_compiled_in_one_graph(name):
    torch._dynamo.reset()
    x, module = images(), ALL[name]()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    out = []
    for function in (module, compiled):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            out.append(function(x))
    torch.testing.assert_close(out[1], out[0], rtol=0, atol=1e-6)
    assert torch.equal(compiled.eval()(x), x)


def test_compiled_with_a_generator_draws_the_same_outside_the_graph():
    torch._dynamo.reset()
    module = A.RandomAffine(10, shift=1)
    out = torch.compile(module, backend="eager")(images(), seeded())
    assert torch.equal(out, module(images(), seeded()))


def test_exported():
    x, module = images(), A.RandomAffine(10, shift=1, horizontal_flip=0.5)
    exported, out = torch.export.export(module, (x,)).module(), []
    for function in (module, exported):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            out.append(function(x))
    torch.testing.assert_close(out[1], out[0], rtol=0, atol=1e-6)


@pytest.mark.skipif(" " in torch.__file__, reason="torch cannot compile in a folder with a space")
def test_compiled_by_inductor():
    torch._dynamo.reset()
    x = images()
    move = torch.compile(lambda v, a: A.rotate(v, a, padding="border"), fullgraph=True)
    angles = torch.linspace(-40, 40, len(x))
    torch.testing.assert_close(move(x, angles), A.rotate(x, angles, padding="border"), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_vmap_draws_for_each_member(name):
    x = images().expand(3, -1, -1, -1, -1)
    out = torch.func.vmap(ALL[name](), randomness="different")(x)
    assert out.shape == x.shape and not torch.equal(out[0], out[1])
    same = torch.func.vmap(ALL[name](), randomness="same")(x)
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], x[0])


@pytest.mark.parametrize("name", ALL)
def test_autocast_changes_nothing(name):
    x = images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ALL[name](generator=seeded())(x)
    assert out.dtype == torch.float32 and torch.equal(out, ALL[name](generator=seeded())(x))


@pytest.mark.parametrize("name", ALL)
def test_copies_and_pickles_continue_the_same_draws(name):
    module = ALL[name](generator=seeded())
    module(images())
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    expected = module(images())
    for twin in twins:
        assert torch.equal(twin(images()), expected)
    assert not module.state_dict() and name.split(",")[0] in repr(module)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (1, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_empty_and_single_pixel_batches(name, shape):
    x = torch.rand(shape)
    assert ALL[name]()(x).shape == x.shape


WHOLE = [
    lambda g: A.RandomHorizontalFlip(0.5, generator=g),
    lambda g: A.RandomVerticalFlip(0.5, generator=g),
    lambda g: A.RandomShift(2, padding="reflection", p=0.8, generator=g),
]


def test_compose_is_sequential_for_whole_pixels_bit_by_bit():
    """Flips and one shift lose nothing on the way, so merged and one by one are the same."""
    x = images(32)
    for order in ((0, 1, 2), (0, 2, 1), (2, 1, 0), (2,), (0, 1)):
        results = []
        for container in (A.Compose, nn.Sequential):
            g = seeded()
            results.append(container(*(WHOLE[i](g) for i in order))(x))
        assert torch.equal(*results) and not torch.equal(results[0], x)


def test_compose_merges_neighbours_into_one_resampling(monkeypatch):
    calls = []
    sample = torch.nn.functional.grid_sample

    def counting(images, grid, mode, *args, **kwargs):
        calls.append(mode)
        return sample(images, grid, mode, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "grid_sample", counting)
    x, g = images(), seeded()

    def count(*modules):
        calls.clear()
        A.Compose(*modules)(x, g)
        return list(calls)

    flip, shift, turn = A.RandomHorizontalFlip(), A.RandomShift(2), A.RandomRotation(10)
    mirrored = A.RandomShift(2, padding="reflection")
    assert count(flip, shift) == ["nearest"]
    assert count(flip, shift, turn, A.RandomScale(0.1)) == ["bilinear"]
    assert count(turn, A.RandomNoise(0.1), shift) == ["bilinear", "nearest"]
    assert count(turn, mirrored) == ["bilinear", "nearest"]  # the paddings differ
    assert count(flip, mirrored, A.RandomVerticalFlip()) == ["nearest"]  # flips go with any
    assert count(flip, A.RandomErasing(2), flip, nn.Identity(), flip) == ["nearest"] * 3
    assert count(flip.eval(), turn) == ["bilinear"]
    flip.train()


def test_compose_multiplies_the_maps():
    """Two rotations about the centre are one by the sum of the angles; both draw as they do alone."""
    x = images(16, 2, 9, 9)
    first, second = A.RandomRotation((20, 20.0001)), A.RandomRotation((25, 25.0001))
    out = A.Compose(first, second)(x, seeded())
    torch.testing.assert_close(out, A.rotate(x, 45.0), rtol=0, atol=1e-4)
    back = A.Compose(A.RandomRotation((90, 90)), A.RandomRotation((-90, -90)))(x)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
    # what the first pushes out of the frame the second brings back
    there = A.Compose(A.RandomAffine(scale=(3, 3)), A.RandomAffine(scale=(1 / 3, 1 / 3)))(x)
    torch.testing.assert_close(there, x, rtol=0, atol=1e-4)


def test_compose_keeps_images_that_no_part_selects():
    x = images(2000, 1, 5, 5)
    out = A.Compose(A.RandomRotation(20, p=0.5), A.RandomScale(0.2, p=0.5))(x, seeded())
    same = (out == x).flatten(1).all(1).float().mean()
    assert abs(same - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)


def test_compose_is_a_sequential():
    augment = A.Compose(
        A.RandomHorizontalFlip(), A.Compose(A.RandomShift(1), A.RandomNoise(0.1)), nn.Identity()
    )
    x = images()
    assert len(augment) == 3 and isinstance(augment[1], A.Compose)
    assert torch.equal(augment(x, seeded()), augment(x, seeded()))
    assert isinstance(augment[:2], A.Compose)
    assert augment.eval()(x) is x


CONSTRUCTORS = [
    (
        lambda: A.RandomHorizontalFlip(p=1.5),
        r"RandomHorizontalFlip: p must be a finite number in \[0.0, 1.0\]",
    ),
    (lambda: A.RandomNoise(0.1, p=-0.1), "RandomNoise: p must be"),
    (lambda: A.RandomShift(-1), "pixels must be a number of pixels, 0 or more"),
    (lambda: A.RandomShift((1, 2, 3)), "pixels must be a number of pixels, 0 or more"),
    (lambda: A.RandomShift(1.5), "pixels must be whole numbers, got 1.5; use subpixel=True"),
    (lambda: A.RandomShift(1, padding="wrap"), "unknown value of RandomShift's argument padding"),
    (lambda: A.RandomShift(1, padding="border", fill=1.0), "fill needs padding='zeros'"),
    (lambda: A.RandomRotation(-5), "degrees must be a finite number, 0 or more"),
    (lambda: A.RandomRotation("5"), r"degrees must be a number, 0 or more, or a pair \(low, high\)"),
    (lambda: A.RandomRotation((5, -5)), "degrees must reach from a lower to a higher value"),
    (lambda: A.RandomScale((0.0, 1.0)), r"scale must reach .* both in \[0.001, inf\]"),
    (lambda: A.RandomScale(1.0), "scale must reach"),
    (lambda: A.RandomShear(90), r"shear must reach .* both in \[-89.0, 89.0\]"),
    (lambda: A.RandomAffine(horizontal_flip=2), "horizontal_flip must be a finite number"),
    (lambda: A.RandomAffine(vertical_flip=-1), "vertical_flip must be a finite number"),
    (lambda: A.RandomAffine(shift=math.nan), "RandomAffine: shift must be a number of pixels"),
    (lambda: A.RandomErasing(2.5), "size must be a whole number of pixels"),
    (lambda: A.RandomErasing((3, 2)), "size must be a whole number of pixels"),
    (lambda: A.RandomErasing(-1), "size must be a whole number of pixels"),
    (lambda: A.RandomErasing(2, value="0"), "value must be a finite number"),
    (lambda: A.RandomBrightness("a"), "amount must be a number, 0 or more, or a pair"),
    (lambda: A.RandomBrightness(0.1, clip=3), "clip must be None or a pair"),
    (lambda: A.RandomContrast(1.5), r"factor must reach .* both in \[0.0, inf\]"),
    (lambda: A.RandomContrast(0.5, clip=(1, 0)), "clip must be"),
    (lambda: A.RandomNoise(-0.1), "std must reach"),
    (lambda: A.RandomNoise(0.1, clip=(1, 0)), "clip must be"),
]


@pytest.mark.parametrize(("make", "message"), CONSTRUCTORS, ids=[message for _, message in CONSTRUCTORS])
def test_constructors_refuse(make, message):
    with pytest.raises(ConvcraftError, match=message):
        make()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_calls_refuse(name, training):
    module = ALL[name]().train(training)
    for x, generator, message in (
        (images().numpy(), None, "images must be a torch.Tensor"),
        (images()[0], None, "images must have 4 dimensions"),
        ((255 * images()).byte(), None, "images must have a floating-point dtype"),
        (images(), 3, "generator must be a torch.Generator or None"),
        (images().to("meta"), seeded(), "generator must be on the device of the images, meta, got cpu"),
    ):
        with pytest.raises(ConvcraftError, match=message):
            module(x, generator)


def test_compose_refuses_a_generator_of_another_device_in_a_part():
    class Elsewhere:
        device = torch.device("meta")

    module = A.Compose(A.RandomShift(1))
    module[0].generator = Elsewhere()
    with pytest.raises(ConvcraftError, match="RandomShift: generator must be a torch.Generator"):
        module(images())


UNDEFINED = [
    (
        lambda: A.Augmentation()(images()),
        r"Augmentation: the class must define transform\(images, generator\)",
    ),
    (
        lambda: Spatial(1.0, None)(images()),
        r"Spatial: the class must define draw_matrix\(images, generator\)",
    ),
]
ERRORS = [*CONSTRUCTORS, *UNDEFINED]


def test_a_base_without_a_transformation_says_so():
    for call, message in UNDEFINED:
        with pytest.raises(ConvcraftError, match=message):
            call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ALL)
def test_on_cuda(name):
    x = images().cuda()
    g = torch.Generator("cuda")
    first, again = (ALL[name]()(x, g.manual_seed(0)) for _ in range(2))
    assert first.is_cuda and torch.equal(first, again) and not torch.equal(first, x)
    with pytest.raises(ConvcraftError, match="generator must be on the device of the images"):
        ALL[name]()(x, seeded())
