"""Mixup and CutMix: two images and two labels made into one of each."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import Generator, check_generator, check_number
from ..errors import ConvcraftError
from . import _draws
from ._checks import Number, check_each, check_images, per_image, precision
from ._targets import mean_of, partners, targets_of
from .values import column, spans

Box = tuple[Number, Number, Number, Number]


def mixup(
    images: Tensor,
    labels: Tensor,
    alpha: float = 0.2,
    *,
    classes: int | None = None,
    weight: Number | None = None,
    partner: Tensor | None = None,
    generator: Generator = None,
) -> tuple[Tensor, Tensor]:
    r"""Average each image with another of the batch, and their targets with the same weights.

    Formula: :math:`\tilde{x}_i = \lambda_i x_i + (1 - \lambda_i) x_{\pi(i)}`,
    :math:`\tilde{t}_i = \lambda_i t_i + (1 - \lambda_i) t_{\pi(i)}`, with
    :math:`\lambda_i \sim \mathrm{Beta}(\alpha, \alpha)` for each image and :math:`\pi` a random order.

    Args:
        labels: integers (N,), or targets (N, ...) of a floating-point dtype: distributions over the classes
            (N, K), or values of a regression.
        alpha: 0 or more; 0 mixes nothing, 1 draws the weight uniformly.
        classes: K, needed for integer labels.
        weight: :math:`\lambda` instead of a draw, a number or a tensor (N,), in [0, 1].
        partner: :math:`\pi` instead of a draw, integers (N,).
        generator: on the device of the images; None is torch's own.

    Returns the images, and the targets in float32 at least: (N, K) for `torch.nn.functional.cross_entropy` from
    integers, else in the shape given. Raises ConvcraftError when images are not such a tensor, labels are neither of
    the two or out of range, classes is missing, alpha is negative, weight outside [0, 1], partner not (N,) of indices,
    or the generator on another device. Source: Zhang, Cisse, Dauphin and Lopez-Paz (2018), mixup: Beyond Empirical
    Risk Minimization. There one weight serves a whole batch; here each image has its own. Chapter: Data augmentation.

    >>> images, labels = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.tensor([0, 1])
    >>> mixed, targets = mixup(images, labels, classes=2, weight=0.75, partner=torch.tensor([1, 0]))
    >>> mixed.flatten().tolist(), targets.tolist()
    ([0.25, 0.75], [[0.75, 0.25], [0.25, 0.75]])
    """
    targets = _prepare("mixup", images, labels, alpha, classes, generator, False)
    if weight is None and alpha == 0:
        return images, targets
    if weight is None:
        kept: Number = _draws.symmetric_beta(images, alpha, generator)
    else:
        kept = per_image("mixup", "weight", weight, images)
        check_each("mixup", "weight", weight, (kept >= 0) & (kept <= 1), "in [0, 1]")
    order = partners("mixup", images, partner, generator)
    share = 1 - column(kept, images, wide=True)
    mixed = torch.lerp(images, images.index_select(0, order), share.to(images.dtype))
    return mixed, mean_of(targets, targets.index_select(0, order), share)


def cutmix(
    images: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    *,
    classes: int | None = None,
    box: Box | None = None,
    partner: Tensor | None = None,
    generator: Generator = None,
) -> tuple[Tensor, Tensor]:
    r"""Paste a rectangle of another image of the batch into each, and mix the targets by its area.

    Formula: :math:`\lambda_i \sim \mathrm{Beta}(\alpha, \alpha)`; a rectangle of :math:`\sqrt{1 - \lambda_i}` of the
    height and of the width, rounded to whole pixels, its centre uniform over the pixels, cut off at the edge; then
    :math:`\tilde{t}_i = (1 - a_i) t_i + a_i t_{\pi(i)}` with :math:`a_i` the share of pixels that it covers.

    Args:
        images, alpha, classes, partner, generator: as in `mixup`.
        labels: as in `mixup`, or masks (N, H, W) or (N, K, H, W) of any dtype, into which the same rectangle is pasted.
        box: (x, y, width, height) instead of a draw, each a number or a tensor (N,): left column, upper row, size.

    Returns the images, and the targets as `mixup` returns them, or the masks. Raises ConvcraftError as `mixup` does,
    and when box does not hold four numbers, or a negative size. Source: Yun, Han, Oh, Chun, Choe and Yoo (2019),
    CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features. There one rectangle serves a
    whole batch; here each image has its own. Chapter: Data augmentation.

    >>> images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    >>> labels, other = torch.tensor([0, 1]), torch.tensor([1, 0])
    >>> mixed, targets = cutmix(images, labels, classes=2, box=(0, 0, 1, 1), partner=other)
    >>> mixed[0].tolist(), targets[0].tolist()
    ([[[1.0, 0.0], [0.0, 0.0]]], [0.75, 0.25])
    """
    targets = _prepare("cutmix", images, labels, alpha, classes, generator, True)
    if (box is None and alpha == 0) or images.numel() == 0:
        return images, targets
    if box is None:
        height, width = images.shape[2:]
        side = torch.sqrt(1 - _draws.symmetric_beta(images, alpha, generator))
        x = _draws.integers(images, (0, width - 1), generator)
        y = _draws.integers(images, (0, height - 1), generator)
        wide, high = torch.round(side * width), torch.round(side * height)
        place: Box = (x - torch.floor(wide / 2), y - torch.floor(high / 2), wide, high)
    else:
        place = _check_box(images, box)
    order = partners("cutmix", images, partner, generator)
    across, down = spans(images, *place)  # (N, 1, 1, W) and (N, 1, H, 1)
    inside = across & down
    mixed = torch.lerp(images, images.index_select(0, order), inside.to(images.dtype))
    if targets.dim() > 2:  # masks: (N, H, W) or (N, K, H, W)
        pasted = inside if targets.dim() == 4 else inside[:, 0]
        return mixed, torch.where(pasted, targets.index_select(0, order), targets)
    area = (across.sum(3) * down.sum(2)).to(precision(images)) / (images.size(2) * images.size(3))
    return mixed, mean_of(targets, targets.index_select(0, order), area)


def _check_box(images: Tensor, box: Any) -> Box:
    if not isinstance(box, tuple | list) or len(box) != 4:
        raise ConvcraftError(f"cutmix: box must be (x, y, width, height), got {box!r}")
    given = zip(("x", "y", "width", "height"), box, strict=True)
    x, y, wide, high = (per_image("cutmix", f"box's {name}", value, images) for name, value in given)
    for name, size in (("width", wide), ("height", high)):
        check_each("cutmix", f"box's {name}", size, size >= 0, "0 or more")
    return x, y, wide, high


def _prepare(
    function: str, images: Tensor, labels: Any, alpha: float, classes: int | None, generator: Generator, masks: bool
) -> Tensor:
    check_images(function, images)
    check_generator(function, generator, images, "images")
    check_number(function, "alpha", alpha, 0.0)
    return targets_of(function, images, labels, classes, masks)


class _Mixing(nn.Module):
    #: the function that mixes all images
    function: Callable[..., tuple[Tensor, Tensor]]
    #: whether labels may be masks
    masks = False

    def __init__(self, alpha: float, classes: int | None, p: float, generator: Generator) -> None:
        super().__init__()
        name = type(self).__name__
        self.alpha = check_number(name, "alpha", alpha, 0.0)
        self.p = check_number(name, "p", p, 0.0, 1.0)
        self.classes = classes
        self.generator = generator

    def mix(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """All images mixed."""
        classes = None if labels.is_floating_point() else self.classes
        return self.function(images, labels, self.alpha, classes=classes, generator=generator)

    def forward(self, images: Tensor, labels: Tensor, generator: Generator = None) -> tuple[Tensor, Tensor]:
        if not self.training:
            return images, labels
        name = type(self).__name__
        generator = self.generator if generator is None else generator
        targets = _prepare(name, images, labels, self.alpha, self.classes, generator, self.masks)
        if self.p == 0:
            return images, targets
        if self.p == 1:
            return self.mix(images, targets, generator)
        selected = _draws.chance(images, self.p, generator)
        mixed, soft = self.mix(images, targets, generator)
        chosen = selected.view(-1, *[1] * (targets.dim() - 1))
        return torch.where(selected.view(-1, 1, 1, 1), mixed, images), torch.where(chosen, soft, targets)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, classes={self.classes}, p={self.p}"


class Mixup(_Mixing):
    """Module of :func:`mixup` for a share p of the images; in eval mode it changes nothing.

    >>> images, targets = Mixup(0.2, classes=10)(torch.rand(8, 1, 8, 8), torch.arange(8))
    >>> targets.shape
    torch.Size([8, 10])
    """

    function = staticmethod(mixup)

    def __init__(
        self, alpha: float = 0.2, classes: int | None = None, *, p: float = 1.0, generator: Generator = None
    ) -> None:
        super().__init__(alpha, classes, p, generator)


class CutMix(_Mixing):
    """Module of :func:`cutmix` for a share p of the images; in eval mode it changes nothing.

    >>> images, targets = CutMix(classes=10)(torch.rand(8, 1, 8, 8), torch.arange(8))
    >>> bool(torch.allclose(targets.sum(1), torch.ones(8)))
    True
    """

    function = staticmethod(cutmix)
    masks = True

    def __init__(
        self, alpha: float = 1.0, classes: int | None = None, *, p: float = 1.0, generator: Generator = None
    ) -> None:
        super().__init__(alpha, classes, p, generator)
