"""Dropout's statistics: rate, mean, variance and independence, of every kind of dropout."""

import math

import pytest
import torch
import torch.nn.functional as F

from convcraft import dropout as D
from convcraft.dropout import packed_bits

CALLS = 5.0  # how many standard errors an estimate may be off: by chance once in two million
SIZE = 1 << 18


@pytest.fixture(params=["numbers", "blocks"])
def path(request, monkeypatch):
    """The product with the mask as of small tensors, or block by block as of large ones."""
    monkeypatch.setattr(packed_bits, "BLOCKS_FROM", 0 if request.param == "blocks" else 1 << 60)
    return request.param


def ours(x, p):
    return D.dropout(x, p)


def kept(function, shape, p):
    """1 where the element was kept, else 0."""
    return (function(torch.ones(shape), p) != 0).double()


def z_score(count, total, probability):
    return abs(count - total * probability) / math.sqrt(total * probability * (1 - probability))


# checks, each of which takes an implementation f(x, p)


def check_rate(function, p=0.3):
    assert z_score(float((1 - kept(function, SIZE, p)).sum()), SIZE, p) < CALLS


def check_scale(function, p=0.3):
    x = torch.randn(SIZE)
    y = function(x, p)
    torch.testing.assert_close(y[y != 0], x[y != 0] / (1 - p), rtol=2e-4, atol=0)


def check_mean_and_variance(function, p=0.3, calls=4000):
    """Over many calls, for each of some values: mean x and variance p / (1 - p) x^2."""
    x = torch.tensor([-2.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    y = function(x.repeat(calls, 1), p)
    variance = p / (1 - p) * x.square()
    assert bool(((y.mean(0) - x).abs() < CALLS * (variance / calls).sqrt()).all())
    # the variance of the sample variance of two values, kurtosis (1 - 3 p q) / (p q)
    kurtosis = (1 - 3 * p * (1 - p)) / (p * (1 - p))
    error = variance * math.sqrt((kurtosis - 1) / calls)
    assert bool(((y.var(0) - variance).abs() < CALLS * error).all())


def correlated(a, b, p):
    """Standard errors by which the product of two centred masks is away from 0."""
    product = ((a - (1 - p)) * (b - (1 - p))).mean()
    return abs(float(product)) * math.sqrt(a.numel()) / (p * (1 - p))


def check_independence(function, p=0.3):
    mask = kept(function, SIZE, p)
    for lag in (1, 2, 3, 4, 7, 8, 16, 32, 63, 64, 65, 128, 1024, 4096):
        assert correlated(mask[:-lag], mask[lag:], p) < CALLS, f"lag {lag}"
    assert correlated(mask, kept(function, SIZE, p), p) < CALLS, "between calls"
    images = kept(function, (64, 32, 8, 16), p)
    assert correlated(images[:32], images[32:], p) < CALLS, "between samples"
    assert correlated(images[:, :16], images[:, 16:], p) < CALLS, "between channels"


def check_gradient(function, p=0.3):
    x = torch.randn(1000, requires_grad=True)
    y = function(x, p)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, torch.where(y != 0, 1 / (1 - p), 0.0), rtol=2e-4, atol=0)


def check_ends(function):
    x = torch.tensor([0.0, -0.0, 1e-30, 1e30, -7.0])
    assert torch.equal(function(x, 0.0), x)
    assert torch.equal(function(x, 1.0), torch.zeros(5))


def check_device(function):
    """The mask is made where the input is: on a device that only knows shapes, any other tensor fails."""
    assert function(torch.empty(4, 5, device="meta"), 0.5).device.type == "meta"


CHECKS = [
    check_rate, check_scale, check_mean_and_variance, check_independence, check_gradient, check_ends,
    check_device,
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__[6:])
def test_ours_passes(check, path):
    check(ours)


@pytest.mark.parametrize("p", [2.0**-20, 0.001, 0.25, 0.5, 0.9, 0.999])
def test_rate_and_scale_at_any_p(p, path):
    dropped = sum(float((1 - kept(ours, SIZE, p)).sum()) for _ in range(8))
    assert z_score(dropped, 8 * SIZE, p) < CALLS
    y = D.dropout(torch.ones(SIZE), p)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)), rtol=2e-4, atol=0)


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_with_a_generator(p, path):
    for seed in range(3):
        source = torch.Generator().manual_seed(seed)
        check_rate(lambda x, p, s=source: D.dropout(x, p, generator=s), p)
        check_scale(lambda x, p, s=source: D.dropout(x, p, generator=s), p)


# the bits themselves


def test_quantized_probability_is_near_and_short():
    for keep in (0.5, 0.25, 0.8, 0.999, 1e-6, 1 - 2.0**-24):
        numerator, digits = packed_bits.quantize(keep)
        assert numerator % 2 == 1
        rarer = min(keep, 1 - keep)
        assert abs(numerator / 2**digits - keep) <= 2.0**-13 * rarer
    assert packed_bits.quantize(0.75) == (3, 2)


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 65, 1000])
def test_pack_and_unpack_are_inverse(count):
    flags = torch.randint(0, 2, (count,), dtype=torch.uint8)
    packed = packed_bits.pack(flags)
    assert packed.numel() == (count + 7) // 8
    assert torch.equal(packed_bits.unpack(packed, count), flags)


@pytest.mark.parametrize("keep", [0.8, 0.5 + 2.0**-9, 1 - 2.0**-14])
def test_every_bit_of_a_byte_has_its_rate(keep):
    bits, rounded = packed_bits.random_bits(1 << 20, keep, None)
    assert abs(rounded - keep) < 1e-5
    rows = packed_bits.unpack(bits, 1 << 20).view(-1, 8).sum(0)
    assert all(z_score(float(count), 1 << 17, rounded) < CALLS for count in rows)


def test_what_the_first_digits_leave_undecided_has_its_rate():
    """Of a probability just above 1/2 the last digits alone decide, in one word of five."""
    keep = 0.5 + 2.0**-9  # 0.100000001
    drawn = [
        float(packed_bits.unpack(packed_bits.random_bits(1 << 22, keep, None)[0], 1 << 22).sum())
        for _ in "12"
    ]
    assert z_score(sum(drawn), 1 << 23, keep) < CALLS < z_score(sum(drawn), 1 << 23, 0.5)


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "drop_block2d"])
def test_the_mask_of_a_seed_depends_neither_on_size_nor_way_nor_dtype(name, monkeypatch):
    x = torch.ones(2, 4, 16, 16)
    masks = []
    for start in (0, 1 << 60):
        monkeypatch.setattr(packed_bits, "BLOCKS_FROM", start)
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            source = torch.Generator().manual_seed(4)
            y = getattr(D, name)(x.to(dtype), 0.3, training=True, generator=source)
            masks.append(y == y.min())
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    torch.manual_seed(4)
    y = getattr(D, name)(x, 0.3, training=True)
    assert torch.equal(y == y.min(), masks[0])  # torch's own generator gives the same numbers


# channels, samples, squares, alpha


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(5)], ids=["global", "own"])
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (D.dropout1d, (64, 64, 3)),
        (D.dropout2d, (64, 64, 3, 2)),
        (D.dropout3d, (64, 64, 2, 2, 2)),
    ],
)
def test_channels_are_dropped_as_a_whole_and_independently(function, shape, generator):
    p = 0.3
    y = function(torch.ones(shape), p, generator=generator).flatten(2)
    assert torch.equal(y, y[:, :, :1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    mask = (y[:, :, 0] != 0).double()
    assert z_score(float(mask.sum()), mask.numel(), 1 - p) < CALLS
    assert correlated(mask[:, 1:], mask[:, :-1], p) < CALLS and correlated(mask[1:], mask[:-1], p) < CALLS


def test_a_sample_without_batch_has_a_mask_of_its_own_channels():
    source = torch.Generator().manual_seed(0)
    y = D.dropout1d(torch.ones(500, 4), 0.5, generator=source)
    assert torch.equal(y, y[:, :1].expand_as(y)) and 150 < int((y[:, 0] == 0).sum()) < 350


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(5)], ids=["global", "own"])
def test_paths_are_dropped_for_whole_samples(generator):
    y = D.drop_path(torch.ones(4096, 2, 3), 0.2, generator=generator).flatten(1)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0.0, 1.25])
    assert z_score(float((y[:, 0] == 0).sum()), 4096, 0.2) < CALLS
    assert D.drop_path(torch.ones(4096, 1), 0.2, scale_by_keep=False).unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 20])
def test_drop_block_drops_the_share_p_at_every_place(block_size, path):
    p, shape = 0.25, (256, 16, 9, 11)
    share = (D.drop_block2d(torch.ones(shape), p, block_size) == 0).double()
    # Elements of one channel go together; the channels are independent.
    channels = share.mean((2, 3)).flatten()
    assert abs(float(channels.mean()) - p) < CALLS * float(channels.std()) / math.sqrt(len(channels))
    places = share.mean((0, 1))
    assert float((places - p).abs().max()) < (CALLS + 1) * math.sqrt(p * (1 - p) / (256 * 16))


def test_drop_block_drops_squares(path):
    """Far from the border every dropped element lies in a dropped square of the block's size."""
    y = D.drop_block2d(torch.ones(32, 4, 30, 30), 0.05, 5)
    dropped = (y == 0).float()
    eroded = -F.max_pool2d(-dropped, 5, 1)  # 1 where a whole square is dropped
    restored = F.max_pool2d(F.pad(eroded, (4, 4, 4, 4)), 5, 1)
    assert torch.equal(restored[..., 4:-4, 4:-4], dropped[..., 4:-4, 4:-4])
    assert y.max().item() == pytest.approx(1 / 0.95)
    per_sample = dropped.sum((1, 2, 3))
    assert per_sample.unique().numel() > 1


def test_what_is_kept_is_divided_by_the_probability_of_the_mask_itself(path):
    """0.9 in 16 binary digits is 58982 / 65536: divided by 0.9, the mean would be off by 7e-6."""
    assert set(D.dropout(torch.ones(1000, dtype=torch.float64), 0.1).tolist()) == {0, 65536 / 58982}


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance_of_selu(p, path):
    x = torch.randn(SIZE, dtype=torch.float64)
    for function, shape in ((D.alpha_dropout, (SIZE,)), (D.feature_alpha_dropout, (512, 512))):
        for source in (None, torch.Generator().manual_seed(1)):
            y = function(x.view(shape), p, training=True, generator=source)
            assert abs(float(y.mean())) < CALLS / math.sqrt(SIZE) + 1e-3
            assert abs(float(y.var()) - 1) < 0.02
    lowest = -1.7580993408473766
    a = 1 / math.sqrt((1 - p) * (1 + p * lowest**2))
    y = D.alpha_dropout(x, p, training=True)
    dropped = (y - (a * lowest - a * p * lowest)).abs() < 1e-3
    assert z_score(float(dropped.sum()), SIZE, p) < CALLS + 1  # a few kept ones are near that value too
    torch.testing.assert_close(y[~dropped], (a * x - a * p * lowest)[~dropped], rtol=1e-3, atol=1e-3)


def test_alpha_dropout_through_selu_layers(path):
    x = torch.randn(4096, 256)
    for _ in range(5):
        x = F.selu(x @ (torch.randn(256, 256) / 16))
        x = D.alpha_dropout(x, 0.1, training=True)
    assert abs(float(x.mean())) < 0.1 and abs(float(x.var()) - 1) < 0.15


def test_gaussian_dropout_has_the_variance_of_dropout():
    x = torch.full((SIZE,), 2.0)
    for source in (None, torch.Generator().manual_seed(1)):
        y = D.gaussian_dropout(x, 0.2, generator=source)
        assert abs(float(y.mean()) - 2) < CALLS * 1.0 / math.sqrt(SIZE)
        assert abs(float(y.var()) - 1.0) < CALLS * math.sqrt(2 / SIZE)
