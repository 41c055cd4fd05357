"""What the random transformations draw: ranges, distributions, and the order of the parts of a motion."""

import math

import torch

from convcraft import augmentation as A


def images(n=16, c=3, h=9, w=12, dtype=torch.float32, seed=0):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


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
