"""Numbers as short strings: each value of a panel becomes one or two bytes, scaled to the panel's range."""

import base64
import re
from collections.abc import Sequence

import numpy as np

from convcraft.errors import ConvcraftError


def code_bytes(digits: int) -> int:
    """Bytes per value for this many digits of its panel's range: one for up to two digits, else two."""
    if not isinstance(digits, int) or not 1 <= digits <= 4:
        raise ConvcraftError(f"digits: expected 1 to 4, got {digits!r}")
    return 1 if digits <= 2 else 2


def encode(values: Sequence[float] | np.ndarray, low: float, high: float, wide: int, digits: int = 4) -> bytes:
    """Quantize: code = round((v - low) / (high - low) * top), little-endian; the largest code is NaN.

    With three digits the codes are rounded to a thousandth of the range, so that frames that look the same are equal.
    """
    top = 256**wide - 2
    v = np.asarray(values, dtype=np.float64)
    good = np.isfinite(v)
    share = np.clip((np.where(good, v, low) - low) / (high - low), 0.0, 1.0)
    steps = min(top, 5 * 10**digits)
    code = np.round(np.round(share * steps) * (top / steps)).astype(np.int64)
    return np.where(good, code, top + 1).astype(f"<u{wide}").tobytes()


def pack(codes: bytes) -> str:
    """Replace each run of zero bytes by a zero and the length of the run less one, and encode the result in base64."""
    short = re.sub(rb"\x00{1,256}", lambda run: bytes([0, len(run.group()) - 1]), codes)
    return base64.b64encode(short).decode("ascii")
