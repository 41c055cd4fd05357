"""How fast convcraft means to be on a CPU, as ratios, and which measurements miss it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .timing import Ratio

#: elements from which on a tensor is large: below it the calls cost more than the arithmetic
LARGE = 1 << 16

#: pattern of "case | what | layout", goal for a large tensor, goal for a small one; the first match counts
GOALS: tuple[tuple[str, float | None, float | None], ...] = (
    (r"dropout 0\.5 \| .*", 0.12, 1.6),
    (r"dropout 0\.2, textbook \| .*", 0.6, None),
    (r"dropout 0\.\d \| .*", 0.35, 1.6),
    (r"alpha_dropout .*", 0.35, 1.6),
    (r"drop_path .*", 0.55, 1.6),
    (r"batch_norm \| .* \| contiguous", 0.9, 1.6),
    (r"flip\+shift over affine \| .*", 0.4, 0.4),
    (r".* \| a batch \| .*", 0.2, 0.2),
    (r".* \| value\+gradient \| .*", 0.8, 0.4),
    (r".* \| proximal step \| .*", 0.6, 0.3),
    (r"record every 1 \| .*", None, None),
    (r"record .*", 1.1, 1.1),
    (r".* \| (alone, .*|training step) \| .*", None, None),
    (r"vectorized \| .*processor time \| batch 64", 0.8, 0.8),
    (r"vectorized \| .*processor time \| .*batch (16|32)", 0.5, 0.5),
    (r"vectorized, \d+ processes \| .*batch (16|32)", 0.25, 0.25),
    (r"vectorized, \d+ processes \| .*", 0.4, 0.4),
    (r".* networks, .*", None, None),
    (r"(tanh|mish) \| .*", 0.8, 1.6),
    (r".*", 1.1, 1.6),
)


def goal(ratio: Ratio) -> float | None:
    """The ratio that is aimed at for this measurement; None where none is set.

    Example:
        >>> goal(Ratio("mish", "forward", "contiguous", (64, 64, 32, 32), (0.5,), 1.0))
        0.8
    """
    label = " | ".join((ratio.case, ratio.what, ratio.layout))
    for pattern, large, small in GOALS:
        if re.fullmatch(pattern, label):
            return large if math.prod(ratio.shape) >= LARGE else small
    return None


def missed(found: Sequence[Ratio]) -> str:
    """How many goals the medians meet, and a line for each that they miss, the furthest first."""
    aimed = [(ratio, limit) for ratio in found if (limit := goal(ratio)) is not None]
    if not aimed:
        return ""
    beyond = sorted((r for r in aimed if round(r[0].median, 2) > r[1]), key=lambda r: r[1] / r[0].median)
    lines = [
        f"  {r.median:.2f}, goal {limit:.2f}: {r.case}, {r.what}, {r.layout}, {'x'.join(map(str, r.shape))}"
        for r, limit in beyond
    ]
    return "\n".join([f"goals met: {len(aimed) - len(beyond)} of {len(aimed)}", *lines])
