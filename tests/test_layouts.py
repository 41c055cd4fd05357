"""Every function that may call a kernel directly sees a tensor's values, whatever its layout in memory."""

import pytest
import torch

from convcraft import activations as A
from convcraft import augmentation as G
from convcraft import dropout as D
from convcraft import normalization as N
from convcraft import penalties as P
from convcraft.activations import _fast
from convcraft.dropout import packed_bits

SHAPE = (4, 6, 5, 8)
LAYOUTS = {
    "every second": lambda x: x[..., ::2],
    "transposed": lambda x: x.transpose(0, 1),
    "offset": lambda x: x[1:, :, 1:],
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "expanded": lambda x: x[:, :, :1].expand(-1, -1, 5, -1),
    "expanded samples": lambda x: x[:1].expand(4, -1, -1, -1),
    "empty": lambda x: x[:0],
    "empty, channels last": lambda x: x[:0].contiguous(memory_format=torch.channels_last),
    "volume, channels last": lambda x: x.unsqueeze(2).contiguous(memory_format=torch.channels_last_3d),
    "flat": lambda x: x.reshape(8, -1).t(),
}
SKIPPED = {"catalog", "derivative", "get", "moments", "acon_c", "swish", "prelu", "softmax", "log_softmax"}


def parameter(n, dtype, step=1):
    """A weight for each of n channels, dense or every second number of a longer one."""
    return (torch.arange(n, dtype=dtype) / n + 0.5).repeat_interleave(step)[::step].requires_grad_()


def normalizations(x, step):
    channels = x.shape[1]

    def pair():
        return parameter(channels, x.dtype, step), parameter(channels, x.dtype, step)

    def running():
        return (torch.ones(channels * step, dtype=x.dtype)[::step] for _ in range(2))

    last = torch.ones(x.shape[-1], 2 if step > 1 else 1, dtype=x.dtype)[:, 0] * 2
    return {
        "batch_norm": lambda v: N.batch_norm(v, *running(), *pair(), training=True),
        "batch_norm, eval": lambda v: N.batch_norm(v, *running(), *pair()),
        "group_norm": lambda v: N.group_norm(v, 2, *pair()),
        "layer_norm": lambda v: N.layer_norm(v, v.shape[-1:], last, last),
        "instance_norm": lambda v: N.instance_norm(v, None, None, *pair()),
    }


def values_and_slopes(function, x):
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return y, torch.autograd.grad(y, leaf, upstream)[0]


@pytest.mark.parametrize("own", [False, True], ids=["small", "large"])
def test_activations_and_normalizations(own, monkeypatch):
    if own:  # the paths for large tensors
        for name in ("MISH_FROM", "SOFTSIGN_FROM", "RESULT_FROM"):
            monkeypatch.setattr(_fast, name, 0)
    for dtype in (torch.float32, torch.float64):
        for layout, of in LAYOUTS.items():
            x = of(3 * torch.randn(SHAPE, dtype=dtype))
            functions = {n: getattr(A, n) for n in A.__all__ if n.islower() and n not in SKIPPED}
            assert len(functions) > 12
            functions |= {f"{n} of {step}": f for step in (1, 2) for n, f in normalizations(x, step).items()}
            plain = normalizations(x.contiguous(), 1)
            for name, function in functions.items():
                if "norm" in name and (layout == "flat" or (not x.numel() and "eval" not in name)):
                    if "instance" in name or "batch" in name or not x.numel():
                        continue  # torch refuses an empty batch there, and instances without places
                reference = plain.get(name.partition(" of")[0], function)
                got = values_and_slopes(function, x)
                want = values_and_slopes(reference, x.detach().clone(memory_format=torch.contiguous_format))
                for a, b in zip(got, want, strict=True):
                    close = torch.allclose(a, b, rtol=1e-4, atol=1e-5)
                    assert a.shape == x.shape and close, (name, layout, dtype)


def test_dropouts_keep_or_drop_the_values_that_are_there(monkeypatch):
    for own in (False, True):
        if own and hasattr(packed_bits, "BLOCKS_FROM"):
            monkeypatch.setattr(packed_bits, "BLOCKS_FROM", 0)
        for layout, of in LAYOUTS.items():
            for name, generator in (
                *((n, None) for n in ("dropout", "drop_path", "dropout2d", "dropout3d", "drop_block2d")),
                *((n, torch.Generator()) for n in ("dropout", "drop_path", "dropout2d", "dropout3d")),
            ):
                x = of(torch.rand(SHAPE) + 1)
                usual = {"dropout2d": (4,), "dropout3d": (4, 5), "drop_block2d": (4,)}.get(name)
                if usual and x.dim() not in usual:
                    continue
                y = getattr(D, name)(x, 0.5, training=True, generator=generator)
                assert y.shape == x.shape, (name, layout)
                if name != "drop_block2d":
                    kept = torch.where(y == 0, 0.0, 2 * x)
                    assert torch.allclose(y, kept), (name, layout)
                assert not x.numel() or bool((y == 0).any()) or name != "dropout"


def test_penalties_and_steps():
    for layout, of in LAYOUTS.items():
        x = of(torch.randn(SHAPE))
        for function in (P.l1_penalty, P.l2_penalty, P.group_lasso, lambda w: P.elastic_net(w, 0.3, 0.7)):
            got, want = values_and_slopes(function, x), values_and_slopes(function, x.contiguous())
            assert all(torch.allclose(a, b, rtol=1e-4) for a, b in zip(got, want, strict=True)), layout
        if "expanded" in layout:
            continue  # torch writes to no memory that several elements share
        for step in (P.soft_threshold_, P.group_soft_threshold_, P.max_norm_):
            written, dense = x.clone(memory_format=torch.preserve_format), x.contiguous().clone()
            step(written, 0.3), step(dense, 0.3)
            assert torch.allclose(written, dense, rtol=1e-4, atol=1e-6), (layout, step.__name__)


def test_augmentations():
    moved = {
        "rotate": lambda x: G.rotate(x, 30.0), "shift": lambda x: G.shift(x, 1.0, 2.0),
        "shear": lambda x: G.shear(x, 10.0), "flip": lambda x: G.horizontal_flip(x),
        "up": lambda x: G.vertical_flip(x), "brightness": lambda x: G.brightness(x, 0.1, clip=(0.0, 1.0)),
        "contrast": lambda x: G.contrast(x, 0.5), "erase": lambda x: G.erase(x, 1, 1, 2, 2),
        "scale": lambda x: G.scale(x, 1.2),
    }  # fmt: skip
    for layout, of in LAYOUTS.items():
        x = of(torch.rand(SHAPE))
        for name, function in moved.items() if x.dim() == 4 else ():
            got, want = function(x), function(x.contiguous())
            assert got.shape == want.shape and torch.allclose(got, want, atol=1e-5), (name, layout)
