"""Augmentation against torchvision.transforms.v2 and kornia: `python -m benchmarks.augmentation_peers`.

For an environment that has both beside torch. convcraft and kornia draw for each image of a batch; torchvision
draws once for all that it is given, so it is timed both ways: image by image, which does the same work, and
with one draw for the batch. Printed are the ratios of our median time to theirs, measured in turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from convcraft import augmentation as A
from convcraft._table import table_text

ROUNDS = 7


def candidates() -> dict[str, dict[str, Callable[[Any], Any]]]:
    import kornia.augmentation as K  # type: ignore[import-not-found,unused-ignore]
    from torchvision.transforms import v2  # type: ignore[import-not-found,unused-ignore]

    return {
        "horizontal flip": {
            "convcraft": A.RandomHorizontalFlip(),
            "torchvision": v2.RandomHorizontalFlip(),
            "kornia": K.RandomHorizontalFlip(),
        },
        "rotation": {
            "convcraft": A.RandomRotation(15),
            "torchvision": v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR),
            "kornia": K.RandomRotation(15.0, p=1.0),
        },
        "affine": {
            "convcraft": A.RandomAffine(15, shift=2, scale=(0.9, 1.1)),
            "torchvision": v2.RandomAffine(
                15, (0.06, 0.06), (0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR
            ),
            "kornia": K.RandomAffine(15.0, (0.06, 0.06), (0.9, 1.1), p=1.0),
        },
        "erasing": {
            "convcraft": A.RandomErasing(area=(0.02, 0.33)),
            "torchvision": v2.RandomErasing(1.0),
            "kornia": K.RandomErasing((0.02, 0.33), p=1.0),
        },
        "brightness": {
            "convcraft": A.RandomBrightness(0.2, clip=(0.0, 1.0)),
            "torchvision": v2.ColorJitter(brightness=0.2),
            "kornia": K.RandomBrightness((0.8, 1.2), p=1.0),
        },
        "noise": {
            "convcraft": A.RandomNoise(0.1),
            "torchvision": v2.GaussianNoise(sigma=0.1, clip=False),
            "kornia": K.RandomGaussianNoise(0.0, 0.1, p=1.0),
        },
    }


def each(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A transform that draws anew for every image."""
    return lambda images: torch.stack([transform(image) for image in images])


def seconds(call: Callable[[Any], Any], images: torch.Tensor) -> float:
    start = time.process_time()
    call(images)
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for shape in ((128, 3, 32, 32), (16, 3, 224, 224)):
        images = torch.rand(shape)
        for name, calls in candidates().items():
            calls["image by image"] = each(calls["torchvision"])
            times: dict[str, list[float]] = {who: [] for who in calls}
            for _ in range(ROUNDS + 1):
                for who, call in calls.items():
                    times[who].append(seconds(call, images))
            ours = statistics.median(times["convcraft"][1:])
            ratios = [ours / statistics.median(times[who][1:]) for who in ("image by image", "torchvision", "kornia")]
            form = "x".join(map(str, shape))
            rows.append((name, form, f"{1e3 * ours:.2f}", *(f"{ratio:.2f}" for ratio in ratios)))
    print(table_text(("transform", "batch", "ms", "to torchvision, image by image", "one draw", "to kornia"), rows))


if __name__ == "__main__":
    main()
