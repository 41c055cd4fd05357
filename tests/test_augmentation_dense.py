"""Masks and boxes that move with their images, nearest interpolation, and targets that are not classes."""

import math

import pytest
import torch
from torch import nn

import convcraft.augmentation as A
from convcraft import ConvcraftError

N, H, W = 6, 12, 16


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def classes_map(dtype=torch.int64):
    return torch.randint(0, 200, (N, H, W), generator=seeded(1)).to(dtype)


GEOMETRY = {
    "flip": lambda **o: A.RandomHorizontalFlip(**o),
    "vertical": lambda **o: A.RandomVerticalFlip(**o),
    "shift": lambda **o: A.RandomShift(3, **o),
    "subpixel": lambda **o: A.RandomShift(3, subpixel=True, **o),
    "rotation": lambda **o: A.RandomRotation(40, **o),
    "affine": lambda **o: A.RandomAffine(20, shift=2, scale=0.2, shear=10, horizontal_flip=0.5, **o),
    "border": lambda **o: A.RandomAffine(20, shift=2, padding="border", **o),
    "compose": lambda **o: A.Compose(A.RandomHorizontalFlip(**o), A.RandomRotation(30, **o)),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_masks_move_as_their_images_do(name):
    """A mask and an image of the same numbers, read at the nearest pixel, stay the same."""
    options = {} if name in ("flip", "vertical", "compose") else {"interpolation": "nearest"}
    module = GEOMETRY[name](**options)
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.float32):
        mask = classes_map(dtype)
        values = mask.float()[:, None] if dtype != torch.bool else mask[:, None].float()
        images, moved = module(values, seeded(3), masks=mask)
        assert moved.dtype == dtype and moved.shape == mask.shape
        if name != "compose":  # there the images are interpolated
            assert torch.equal(images[:, 0], moved.float())
        planes = module(values, seeded(3), masks=mask[:, None].expand(-1, 3, -1, -1))[1]
        assert torch.equal(planes[:, 2], moved)
    assert torch.equal(module(values, seeded(3)), images)  # with and without masks: the same draw
    module.eval()
    assert all(a is b for a, b in zip(module(values, masks=mask), (values, mask), strict=True))


def test_large_integers_survive_and_the_fill_is_for_masks_alone():
    mask = torch.full((N, H, W), 2**40 + 1)
    images, moved = A.RandomShift(5)(torch.ones(N, 1, H, W), seeded(), masks=mask, mask_fill=255)
    assert set(moved.unique().tolist()) == {255, 2**40 + 1} and torch.equal(images[:, 0] == 0, moved == 255)
    halves = A.RandomRotation((20, 30), p=0.5)(torch.ones(N, 1, H, W), seeded(), masks=mask, mask_fill=255)
    still = (halves[0] == 1).all((1, 2, 3))
    assert still.any() and not still.all() and torch.equal(still, (halves[1] == 2**40 + 1).all((1, 2)))


def test_boxes_follow_a_painted_rectangle():
    """The pixels of a rectangle, moved, lie in the moved box and touch its sides."""
    images = torch.zeros(N, 1, H, W)
    images[:, :, 4:8, 5:12] = 1
    boxes = torch.tensor([5.0, 4.0, 12.0, 8.0]).expand(N, 2, 4)
    for module in (
        A.RandomHorizontalFlip(0.5),
        A.RandomShift(3),
        A.RandomAffine(horizontal_flip=0.5, vertical_flip=0.5, scale=(0.8, 1.2), interpolation="nearest"),
        A.RandomRotation((90, 90), interpolation="nearest"),
        A.Compose(A.RandomVerticalFlip(), A.RandomBrightness(0.0), A.RandomShift(2), nn.Identity()),
    ):
        moved, found = module(images, seeded(2), boxes=boxes)
        for image, (box, again) in zip(moved[:, 0], found, strict=True):
            rows, columns = (image > 0.5).nonzero().unbind(1)
            painted = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (box - painted).abs().max() <= 1.0 and torch.equal(box, again)
    out = A.RandomShift((40, 0))(images, seeded(), boxes=boxes)[1]
    assert (out[..., 0] >= 0).all() and (out[..., 2] <= W).all()
    corners = A.RandomRotation((45, 45))(torch.zeros(1, 1, 20, 20), boxes=torch.tensor([[[8.0, 8, 12, 12]]]))[
        1
    ]
    half = 2 * math.sqrt(2)
    torch.testing.assert_close(corners, torch.tensor([[[10 - half, 10 - half, 10 + half, 10 + half]]]))


def test_values_change_images_alone_and_all_parts_come_back_in_order():
    images, mask, boxes = torch.rand(N, 3, H, W, generator=seeded()), classes_map(), torch.ones(N, 1, 4)
    for module in (A.RandomErasing(4), A.RandomNoise(0.1), A.RandomContrast(0.5), A.RandomBrightness(0.5)):
        changed, same, also = A.Compose(module)(images, masks=mask, boxes=boxes)
        assert same is mask and also is boxes and not torch.equal(changed, images)
        assert module(images, masks=mask)[1] is mask
    nested = A.Compose(A.Compose(A.RandomHorizontalFlip(1.0)))(images, masks=mask)
    assert torch.equal(nested[0], images.flip(-1)) and torch.equal(nested[1], mask.flip(-1))


def test_nearest_moves_values_and_computes_none():
    images = torch.rand(N, 2, H, W, generator=seeded())
    mask = classes_map()[:, None]
    for moved in (
        A.rotate(mask, 10.0, interpolation="nearest"),
        A.scale(mask, 1.3, interpolation="nearest"),
        A.shear(mask, 20.0, interpolation="nearest"),
        A.shift(mask, 1.3, interpolation="nearest"),
        A.affine(mask, torch.tensor([[0.9, 0.2, 1.0], [0.1, 1.1, 0.0]]), interpolation="nearest"),
    ):
        assert moved.dtype == mask.dtype and set(moved.unique().tolist()) <= {0, *mask.unique().tolist()}
        assert not torch.equal(moved, mask)
    assert torch.equal(A.shift(mask, 2)[..., 2:], mask[..., :-2]) and (A.shift(mask, 2)[..., :2] == 0).all()
    smooth, near = A.rotate(images, 20.0), A.rotate(images, 20.0, interpolation="nearest")
    assert (
        not torch.equal(smooth, near)
        and torch.isin(near, torch.cat([images.flatten(), torch.zeros(1)])).all()
    )
    affine = A.Compose(A.RandomRotation(20, interpolation="nearest"), A.RandomRotation(20))
    assert not torch.isin(
        affine(images, seeded()), images
    ).all()  # neighbours that read differently stay apart


def test_mixed_targets_belong_to_the_mixed_images():
    """Image i is 1 in channel i: what is left of each image is its share in the target."""
    images = torch.eye(N).view(N, N, 1, 1).expand(N, N, H, W)
    labels, values = torch.arange(N), torch.arange(N).float()
    for mix in (A.mixup, A.cutmix, A.Mixup(1.0, N, p=0.7), A.CutMix(classes=N, p=0.7)):
        called = {} if isinstance(mix, nn.Module) else {"classes": N, "alpha": 1.0}
        mixed, targets = mix(images, labels, generator=seeded(4), **called)
        shares = mixed.mean((2, 3))
        torch.testing.assert_close(targets, shares)
        assert (shares.max(1).values < 0.99).any()
        called.pop("classes", None)
        if isinstance(mix, nn.Module):
            mix.classes = None
        for target in (
            values,
            torch.stack([values, -values], 1),
        ):  # regression: the same weights and partners
            found = mix(images, target, generator=seeded(4), **called)[1]
            torch.testing.assert_close(found, shares @ target)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_cutmix_pastes_the_same_rectangle_into_masks(dtype):
    mask = classes_map(dtype)
    images = mask.float()[:, None]
    for cut in (A.cutmix, A.CutMix(), A.CutMix(p=0.5)):
        for masks in (mask, mask[:, None].expand(-1, 2, -1, -1)):
            mixed, pasted = cut(images, masks, generator=seeded(5))
            assert pasted.dtype == dtype and pasted.shape == masks.shape and not torch.equal(pasted, masks)
            assert torch.equal(pasted.float(), mixed.expand_as(pasted) if masks.dim() == 4 else mixed[:, 0])
    soft = torch.rand(N, 3, H, W, generator=seeded())
    assert A.mixup(images, soft, weight=0.5, partner=torch.arange(N).flip(0))[1].shape == soft.shape


def test_an_erased_rectangle_reaches_every_edge_as_often():
    """Of four places in a row a rectangle of three covers the first or the last."""
    erase = A.RandomErasing(area=0.75, ratio=1, value=1.0, generator=seeded())
    for shape in ((1000, 1, 3, 4), (1000, 1, 4, 3)):
        places = erase(torch.zeros(shape)).amax(3 if shape[2] == 4 else 2)[:, 0].mean(0)  # (4,): share erased
        assert places[1] == places[2] == 1 and abs(places[0] - 0.5) < 0.07 and abs(places[3] - 0.5) < 0.07


@pytest.mark.parametrize(("ratio", "size"), [(4, (24, 6)), (0.25, (6, 24)), (1, (12, 12))])
def test_the_ratio_of_an_erased_area_is_its_height_over_its_width(ratio, size):
    erased = A.RandomErasing(area=144 / 1800, ratio=ratio, value=1.0, generator=seeded())(torch.zeros(8, 1, 30, 60))
    for rectangle in erased[:, 0]:
        assert (int(rectangle.any(1).sum()), int(rectangle.any(0).sum())) == size


def test_erasing_by_area_and_ratio_and_with_noise():
    images = torch.zeros(4000, 1, 40, 60)
    erased = (
        A.RandomErasing(area=(0.1, 0.2), ratio=(0.5, 2.0), value=1.0, generator=seeded())(images)[:, 0] == 1
    )
    tall, wide = erased.any(2).sum(1).float(), erased.any(1).sum(1).float()
    assert torch.equal(tall * wide, erased.sum((1, 2)).float())  # a whole rectangle, never cut off
    share, ratio = tall * wide / 2400, (tall / wide).log() / math.log(2)
    assert 0.09 < share.min() and share.max() < 0.21 and abs(share.mean() - 0.15) < 0.003
    assert abs(ratio).max() < 1.15 and abs(ratio.mean()) < 0.05 and abs(ratio.var() - 1 / 3) < 0.04
    left = erased.any(1).float().argmax(1) / (60 - wide)  # uniform over where it fits
    assert abs(left.mean() - 0.5) < 0.02 and left.min() < 0.03 and left.max() > 0.97
    noisy = A.RandomErasing(20, value="noise", generator=seeded())(images[:50])
    drawn = noisy[noisy != 0]
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05
    fixed = A.erase(torch.zeros(1, 2, 4, 4), 1, 1, 2, 2, value="noise", generator=seeded())
    assert (fixed != 0).sum() == 8 and fixed.unique().numel() == 9
    assert A.RandomErasing(area=0.0).is_identity() and "area=(0.1, 0.1)" in repr(A.RandomErasing(area=0.1))


X, M = torch.rand(N, 3, H, W, generator=seeded()), classes_map()
ERRORS = [
    (lambda: A.RandomShift(1)(X, masks=M[:3]), r"RandomShift: masks must have shape \(6, 12, 16\) or"),
    (lambda: A.RandomShift(1)(X, masks=M.numpy()), "masks must be a torch.Tensor"),
    (lambda: A.RandomShift(1)(X, masks=M, mask_fill="a"), "mask_fill must be a finite number"),
    (lambda: A.RandomNoise(1)(X, masks=M.to("meta")), "masks must be on the device of the images"),
    (lambda: A.RandomShift(1)(X, boxes=torch.ones(N, 4)), r"boxes must have shape \(6, K, 4\)"),
    (lambda: A.RandomShift(1)(X, boxes=torch.ones(N, 1, 4).long()), "boxes must have a floating-point dtype"),
    (lambda: A.RandomShear(9)(X, boxes=torch.ones(N, 1, 4)), "RandomShear: boxes cannot be sheared"),
    (
        lambda: A.Compose(A.RandomShift(1), A.RandomShear(9))(X, boxes=torch.ones(N, 1, 4)),
        "RandomShear: boxes cannot be sheared",
    ),
    (
        lambda: A.rotate(M[:, None], 10.0),
        "images must have a floating-point dtype, .* interpolation='nearest'",
    ),
    (
        lambda: A.rotate(X, 10.0, interpolation="nerest"),
        "argument interpolation 'nerest': did you mean 'nearest'",
    ),
    (lambda: A.RandomRotation(9)(M[:, None]), "RandomRotation: images must have a floating-point dtype"),
    (lambda: A.mixup(X, M), r"targets \(6, 12, 16\) must have a floating-point dtype, .* cutmix"),
    (lambda: A.cutmix(X, M[:, :5]), r"cutmix: masks must have shape \(N, H, W\) or"),
    (lambda: A.RandomErasing(), "exactly one of size and area"),
    (lambda: A.RandomErasing(3, area=0.1), "exactly one of size and area"),
    (lambda: A.RandomErasing(area=1.5), r"area must reach .* in \[0, 1\]"),
    (lambda: A.RandomErasing(area=0.1, ratio=0), "ratio must reach"),
    (lambda: A.RandomErasing(3, value="nois"), "value must be a finite number, .* or 'noise', got 'nois'"),
    (
        lambda: A.erase(X, 0, 0, 1, 1, value="noise", generator=3),
        "erase: generator must be a torch.Generator",
    ),
]


def test_misuse_is_refused_with_the_argument_named():
    for call, message in ERRORS:
        with pytest.raises(ConvcraftError, match=message):
            call()
