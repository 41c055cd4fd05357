"""Mixup and CutMix against a loop over images: images, targets, weights, and what they refuse."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from convcraft import ConvcraftError
from convcraft import augmentation as A
from convcraft.augmentation import _draws

N, K = 12, 5
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
FUNCTIONS = {"mixup": A.mixup, "cutmix": A.cutmix}
MODULES = {"Mixup": A.Mixup, "CutMix": A.CutMix}


def images(n=N, dtype=torch.float32, h=6, w=7):
    g = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, h, w, generator=g, dtype=torch.float64).to(dtype)


def labels(n=N):
    return torch.arange(n) % K


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def one_hot(n=N, dtype=torch.float32):
    return F.one_hot(labels(n), K).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mixup_equals_a_loop(dtype):
    x, g = images(dtype=dtype), seeded()
    weight = torch.rand(N, generator=g, dtype=torch.float64)
    partner = torch.randperm(N, generator=g)
    mixed, targets = A.mixup(x, labels(), classes=K, weight=weight, partner=partner)
    assert mixed.dtype == dtype and targets.dtype == (dtype if dtype == torch.float64 else torch.float32)
    for i in range(N):
        kept, j = weight[i].item(), partner[i].item()
        expected = kept * x[i].double() + (1 - kept) * x[j].double()
        step = {torch.float64: 1e-15, torch.float32: 2e-7, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
        torch.testing.assert_close(mixed[i].double(), expected, rtol=0, atol=step)
        row = torch.zeros(K, dtype=torch.float64)
        row[labels()[i]] += kept
        row[labels()[j]] += 1 - kept
        torch.testing.assert_close(targets[i].double(), row, rtol=0, atol=1.2e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_targets_of_half_precision_are_mixed_in_float32(dtype):
    partner = torch.arange(N).roll(1)
    _, targets = A.mixup(images(), one_hot(dtype=dtype), weight=0.3, partner=partner)
    torch.testing.assert_close(targets, 0.3 * one_hot() + 0.7 * one_hot()[partner])


def test_mixup_of_one_weight_and_of_targets():
    x, soft = images(), torch.rand(N, K)
    partner = torch.arange(N).flip(0)
    mixed, targets = A.mixup(x, soft, weight=0.25, partner=partner)
    torch.testing.assert_close(mixed, 0.25 * x + 0.75 * x.flip(0))
    torch.testing.assert_close(targets, 0.25 * soft + 0.75 * soft.flip(0))


def test_mixup_is_exact_at_the_ends_and_for_equal_labels():
    x, partner = images(), torch.arange(N).roll(1)
    for kept, expected, rows in ((1.0, x, one_hot()), (0.0, x[partner], one_hot()[partner])):
        mixed, targets = A.mixup(x, labels(), classes=K, weight=kept, partner=partner)
        assert torch.equal(mixed, expected) and torch.equal(targets, rows)
    same = torch.full((N,), 3)
    for function in FUNCTIONS.values():
        targets = function(x, same, classes=K, generator=seeded())[1]
        assert torch.equal(targets, F.one_hot(same, K).float())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cutmix_equals_a_loop(dtype):
    x, g = images(dtype=dtype), seeded()
    left, top = (torch.randint(-3, 6, (N,), generator=g) for _ in range(2))
    wide, high = (torch.randint(0, 8, (N,), generator=g) for _ in range(2))
    partner = torch.randperm(N, generator=g)
    mixed, targets = A.cutmix(x, labels(), classes=K, box=(left, top, wide, high), partner=partner)
    assert mixed.dtype == dtype
    for i in range(N):
        j, expected, count = partner[i].item(), x[i].clone(), 0
        for r in range(6):
            for c in range(7):
                if left[i] <= c < left[i] + wide[i] and top[i] <= r < top[i] + high[i]:
                    expected[:, r, c] = x[j, :, r, c]
                    count += 1
        assert torch.equal(mixed[i], expected)
        row = torch.zeros(K, dtype=torch.float64)
        row[labels()[i]] += 1 - count / 42
        row[labels()[j]] += count / 42
        torch.testing.assert_close(targets[i].double(), row, rtol=0, atol=1.2e-7)


def test_cutmix_targets_tell_the_drawn_area_exactly():
    """Images of one value each: what comes from the partner can be counted in the result."""
    n = 500
    x = torch.arange(n, dtype=torch.float64).view(n, 1, 1, 1).expand(n, 1, 9, 8).contiguous()
    mixed, targets = A.cutmix(x, torch.arange(n), classes=n, generator=seeded())
    for i in range(n):
        values, counts = mixed[i].unique(return_counts=True)
        assert len(values) <= 2
        for value, count in zip(values.long().tolist(), counts.tolist(), strict=True):
            assert targets[i, value].item() == pytest.approx(count / 72, abs=1e-15)
        assert targets[i].sum().item() == pytest.approx(1.0, abs=1e-15)
        assert set(targets[i].nonzero().flatten().tolist()) <= set(values.long().tolist())


def test_cutmix_boxes_have_the_share_and_the_places_of_the_paper():
    """sqrt(1 - u) of each side, u uniform for alpha = 1, the centre uniform, cut off at the edge."""
    n, side = 4000, 64
    x = torch.arange(2.0).repeat(n // 2).view(n, 1, 1, 1).expand(n, 1, side, side)
    partner = torch.arange(n) ^ 1
    mixed, _ = A.cutmix(x, torch.zeros(n, dtype=torch.int64), classes=1, partner=partner, generator=seeded())
    share = (mixed != x).double().mean((1, 2, 3))
    # reference: one image at a time
    g, shares = seeded(5), []
    for _ in range(n):
        u, cx, cy = torch.rand(3, generator=g, dtype=torch.float64).tolist()
        cut = math.sqrt(1 - u) * side
        cx, cy = cx * side, cy * side
        spans = [min(c + cut / 2, side) - max(c - cut / 2, 0) for c in (cx, cy)]
        shares.append(spans[0] * spans[1] / side**2)
    assert stats.ks_2samp(share.numpy(), shares).statistic < 1.95 * math.sqrt(2 / n) + 0.02
    assert abs(share.mean().item() - sum(shares) / n) < 0.02


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_weights_are_beta(alpha):
    n = 4000
    drawn = _draws.symmetric_beta(torch.zeros(n, 1), alpha, seeded(3)).double()
    assert 0 <= drawn.min() and drawn.max() <= 1 and drawn.isfinite().all()
    # float32 merges values within 6e-8 of 1 with it
    grid = torch.linspace(0.001, 0.999, 200).numpy()
    share = torch.searchsorted(drawn.sort().values, torch.as_tensor(grid, dtype=torch.float64)) / n
    assert abs(share.numpy() - stats.beta(alpha, alpha).cdf(grid)).max() < 1.95 / math.sqrt(n)
    assert abs(drawn.var().item() - 0.25 / (2 * alpha + 1)) < 0.01


def test_mixup_draws_its_weights_from_beta_for_each_image_and_a_random_partner():
    n = 2000
    mixed, targets = A.mixup(torch.rand(n, 1, 2, 2), torch.arange(n), 0.7, classes=n, generator=seeded())
    kept = targets.diagonal()
    assert stats.kstest(kept.numpy(), stats.beta(0.7, 0.7).cdf).statistic < 1.95 / math.sqrt(n)
    partner = (targets - torch.diag(kept)).argmax(1)
    assert len(set(partner.tolist())) > 0.98 * n and (partner == torch.arange(n)).sum() < 10
    assert torch.allclose(targets.sum(1), torch.ones(n))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_targets_suit_cross_entropy(name):
    x, y = FUNCTIONS[name](images(), labels(), classes=K, generator=seeded())
    logits = torch.randn(N, K)
    loss = F.cross_entropy(logits, y)
    assert loss.item() == pytest.approx(-(y * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_alpha_0_mixes_nothing_and_draws_nothing(name):
    x, g = images(), seeded()
    state = g.get_state()
    mixed, targets = FUNCTIONS[name](x, labels(), 0.0, classes=K, generator=g)
    assert mixed is x and torch.equal(targets, one_hot()) and torch.equal(g.get_state(), state)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_reach_images_and_targets(name):
    x, soft = (
        images(3, torch.float64, 3, 3).requires_grad_(),
        torch.rand(3, 2, dtype=torch.float64).requires_grad_(),
    )
    assert torch.autograd.gradcheck(lambda a, b: FUNCTIONS[name](a, b, generator=seeded()), (x, soft))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_layout_autocast_and_empty_batches(name):
    function, x = FUNCTIONS[name], images()
    expected = function(x, labels(), classes=K, generator=seeded())
    laid_out = function(
        x.contiguous(memory_format=torch.channels_last), labels(), classes=K, generator=seeded()
    )
    assert laid_out[0].is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = function(x, labels(), classes=K, generator=seeded())
    for other in (laid_out, cast):
        assert all(torch.equal(a, b) for a, b in zip(other, expected, strict=True))
    empty = function(images(0), labels(0), classes=K)
    assert empty[0].shape == (0, 3, 6, 7) and empty[1].shape == (0, K)
    one = function(images(1), labels(1), classes=K)  # its only partner is itself
    assert torch.equal(one[0], images(1)) and torch.equal(one[1], one_hot(1))


@pytest.mark.parametrize("name", MODULES)
def test_modules_draw_reproducibly_and_only_in_training(name):
    make, x, state = MODULES[name], images(), torch.get_rng_state()
    first = make(classes=K, generator=seeded())(x, labels())
    again = make(classes=K)(x, labels(), seeded())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], x) and torch.equal(torch.get_rng_state(), state)
    module = make(classes=K, generator=seeded()).eval()
    given = labels()
    assert module(x, given)[0] is x and module(x, given)[1] is given
    module.train()
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x, given)[0], first[0])
    assert f"classes={K}" in repr(module)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one = make(classes=K)(x, given)[0]
        assert not torch.equal(make(classes=K)(x, given)[0], one)
        torch.manual_seed(0)
        assert torch.equal(make(classes=K)(x, given)[0], one)


@pytest.mark.parametrize("name", MODULES)
def test_p_is_the_share_that_is_mixed(name):
    n = 3000
    x = torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 1, 4, 4)
    y = torch.zeros(n, 2)
    y[:, 0] = torch.arange(n)
    module = MODULES[name](2.0, p=0.4, generator=seeded())
    mixed, targets = module(x, y)
    same = (mixed == x).flatten(1).all(1)
    assert torch.equal(targets[same], y[same])
    share = 1 - same.float().mean()
    nothing = 0.1 if name == "CutMix" else 0.01  # rectangles rounded to no pixel
    assert 0.4 - nothing - 0.036 < share < 0.4 + 0.036
    none = MODULES[name](classes=K, p=0.0)
    before = images()
    assert none(before, labels())[0] is before and torch.equal(none(before, labels())[1], one_hot())


@pytest.mark.parametrize("name", MODULES)
def test_compile_and_vmap(name):
    torch._dynamo.reset()
    x, module = images(), MODULES[name](classes=K)
    compiled, out = torch.compile(module, fullgraph=True, backend="aot_eager"), []
    for function in (module, compiled):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            out.append(function(x, labels()))
    for a, b in zip(*out, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    many = torch.func.vmap(module, randomness="different")(
        x.expand(2, -1, -1, -1, -1), labels().expand(2, -1)
    )
    assert many[0].shape == (2, *x.shape) and not torch.equal(many[0][0], many[0][1])
    assert torch.allclose(many[1].sum(2), torch.ones(2, N))


X = images()
WRONG = [
    (lambda f: f(X[0], labels(), classes=K), r"images must have shape \(N, C, H, W\), got 3 dim"),
    (lambda f: f(X, [0] * N, classes=K), r"integers \(12,\) or targets \(12, \.\.\.\), got list"),
    (lambda f: f(X, labels()[:3], classes=K), r"labels must be integers .* got \(3,\)"),
    (lambda f: f(X, torch.zeros(N, K, dtype=torch.int64)), "targets .* must have a floating-point dtype"),
    (lambda f: f(X, torch.zeros(N), classes=K), "must be integers with classes=5, got torch.float32"),
    (lambda f: f(X, torch.zeros(N, dtype=torch.bool), classes=K), "must be integers, got torch.bool"),
    (lambda f: f(X, labels()), "classes must be the number of classes, got None"),
    (lambda f: f(X, labels(), classes=0), "classes must be the number of classes"),
    (lambda f: f(X, labels(), classes=4), "labels must be from 0 to 3, got 0 to 4"),
    (lambda f: f(X, labels() - 1, classes=K), "labels must be from 0 to 4, got -1 to 3"),
    (lambda f: f(X, labels().to("meta"), classes=K), "labels must be on the device of the images"),
    (lambda f: f(X, labels(), -0.1, classes=K), "alpha must be a finite number of at least 0"),
    (lambda f: f(X, labels(), math.inf, classes=K), "alpha must be a finite number"),
    (lambda f: f(X, labels(), classes=K, generator="g"), "generator must be a torch.Generator"),
    (lambda f: f(X, labels(), classes=K, partner=torch.arange(3)), "partner must be int64 indices"),
    (lambda f: f(X, labels(), classes=K, partner=torch.arange(N) + 1), "partner must be int64 indices"),
    (lambda f: f(X, labels(), classes=K, partner=[0] * N), "partner must be int64 indices"),
    (
        lambda f: f(X, labels(), classes=K, partner=torch.zeros(N, dtype=torch.int64, device="meta")),
        "partner",
    ),
]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_functions_refuse(name, call, message):
    with pytest.raises(ConvcraftError, match=f"{name}: .*{message}|{message}"):
        call(FUNCTIONS[name])


OWN = [
    (lambda: A.mixup(X, labels(), classes=K, weight=1.1), r"weight must be in \[0, 1\]"),
    (
        lambda: A.mixup(X, labels(), classes=K, weight=torch.full((N,), -0.1)),
        r"weight must be in \[0, 1\]",
    ),
    (lambda: A.mixup(X, labels(), classes=K, weight=torch.ones(3)), "weight must be one number, or"),
    (lambda: A.cutmix(X, labels(), classes=K, box=(0, 0, 1)), r"box must be \(x, y, width, height\)"),
    (lambda: A.cutmix(X, labels(), classes=K, box=3), r"box must be \(x, y, width, height\)"),
    (lambda: A.cutmix(X, labels(), classes=K, box=(0, 0, -1, 1)), "box's width must be 0 or more"),
    (
        lambda: A.cutmix(X, labels(), classes=K, box=(0, 0, 1, torch.full((N,), -1))),
        "box's height must be 0",
    ),
    (lambda: A.Mixup(-1.0), "Mixup: alpha must be a finite number of at least 0"),
    (lambda: A.CutMix(p=2.0), r"CutMix: p must be a finite number in \[0, 1\]"),
    (lambda: A.CutMix()(X, labels()), "CutMix: classes must be the number of classes"),
]
ERRORS = [
    (lambda call=call, f=f: call(f), message) for f in FUNCTIONS.values() for call, message in WRONG
] + OWN


@pytest.mark.parametrize(("call", "message"), OWN, ids=[message for _, message in OWN])
def test_own_arguments_are_refused(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", MODULES)
def test_on_cuda(name):
    g = torch.Generator("cuda")
    x, y = images().cuda(), labels().cuda()
    first, again = (MODULES[name](classes=K)(x, y, g.manual_seed(0)) for _ in range(2))
    assert first[0].is_cuda and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
