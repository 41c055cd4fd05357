"""Compose: a Sequential that merges the motions of neighbours into one."""

import math

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft import augmentation as A


def images(n=16, c=3, h=9, w=12, dtype=torch.float32, seed=0):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


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
    assert count(flip, A.RandomErasing(2), flip, nn.Identity(), flip) == []  # flips alone resample nothing
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


@pytest.mark.parametrize("ways", [("nearest", "bilinear"), ("bilinear", "nearest")], ids=" then ".join)
def test_compose_lets_every_part_interpolate_in_its_own_way(ways):
    x = images()
    parts = [A.RandomRotation((angle, angle), interpolation=way) for angle, way in zip((20, 25), ways, strict=True)]
    assert torch.equal(A.Compose(*parts)(x), nn.Sequential(*parts)(x))


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


def test_compose_refuses_a_generator_of_another_device_in_a_part():
    class Elsewhere:
        device = torch.device("meta")

    module = A.Compose(A.RandomShift(1))
    module[0].generator = Elsewhere()
    with pytest.raises(ConvcraftError, match="RandomShift: generator must be a torch.Generator"):
        module(images())
