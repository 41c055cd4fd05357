"""Modules: for whom they draw and from where, when they do nothing, and how they go with torch."""

import copy
import math
import pickle

import pytest
import torch

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
    once = {"cpp_cache_precompile_headers": False, "compile_threads": 1}  # it compiles a single kernel,
    plain = {"cpp.simdlen": 0, "cpp.vec_isa_ok": False}  # whose vector instructions are not ours, and take longest
    with torch._inductor.config.patch({**once, **plain}):
        out = move(x, angles)
    torch.testing.assert_close(out, A.rotate(x, angles, padding="border"), rtol=0, atol=1e-5)


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


CONSTRUCTORS = [
    (
        lambda: A.RandomHorizontalFlip(p=1.5),
        r"RandomHorizontalFlip: p must be a finite number in \[0, 1\]",
    ),
    (lambda: A.RandomNoise(0.1, p=-0.1), "RandomNoise: p must be"),
    (lambda: A.RandomShift(-1), "pixels must be a number of pixels from 0 on"),
    (lambda: A.RandomShift((1, 2, 3)), "pixels must be a number of pixels from 0 on"),
    (lambda: A.RandomShift(1.5), "pixels must be whole numbers, got 1.5; use subpixel=True"),
    (lambda: A.RandomShift(1, padding="wrap"), "unknown value of RandomShift's argument padding"),
    (lambda: A.RandomShift(1, padding="border", fill=1.0), "fill needs padding='zeros'"),
    (lambda: A.RandomRotation(-5), "degrees must be a finite number of at least 0"),
    (lambda: A.RandomRotation("5"), r"degrees must be a number from 0 on or \(low, high\)"),
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
    (lambda: A.RandomBrightness("a"), "amount must be a number from 0 on or"),
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
        (images()[0], None, r"images must have shape \(N, C, H, W\), got 3 dim"),
        ((255 * images()).byte(), None, "images must have a floating-point dtype"),
        (images(), 3, "generator must be a torch.Generator or None"),
        (images().to("meta"), seeded(), "generator must be on the device of the images, meta, got cpu"),
    ):
        if "dtype" in message and getattr(module, "exact", None):
            assert module(x).dtype == torch.uint8  # values are only moved
            continue
        with pytest.raises(ConvcraftError, match=message):
            module(x, generator)


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
