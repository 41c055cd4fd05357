"""Sequences behind the case study on recurrent networks: spoken digits, messages, and a planted recall."""

import io
import tarfile
import wave
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convcraft.errors import ConvcraftError
from convcraft.lab.data.files import find
from convcraft.lab.data.published import LICENCES
from convcraft.lab.data.splits import Split

RATE = 8000  # samples a second


@dataclass(frozen=True)
class Recordings:
    """Recordings in order of name: `signals` in [-1, 1), `digit`, `speaker` (row of `speakers`), take `index`."""

    signals: tuple[NDArray[np.float32], ...]
    digit: NDArray[np.int64]
    speaker: NDArray[np.int64]
    index: NDArray[np.int64]
    speakers: tuple[str, ...]


@dataclass(frozen=True)
class Messages:
    """Text messages: `texts`, and `spam` (n,) bool."""

    texts: tuple[str, ...]
    spam: NDArray[np.bool_]


def spoken_digits() -> Recordings:
    """3,000 recordings of six people saying the digits 0 to 9 fifty times each, at 8,000 samples a second.

    Recordings with an `index` of 0 to 4 are the official test part, in which every speaker is known. Read from an
    archive whose recordings have the published bytes. Raises ConvcraftError if it is missing or has other
    recordings. Source: Jackson and others (2018), Free Spoken Digit Dataset. Chapter: Recurrent networks.
    """
    path = find("free-spoken-digit-dataset", "free-spoken-digit-dataset.tar.gz")
    print(LICENCES["free-spoken-digit-dataset"])
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".wav"):
                with wave.open(io.BytesIO(archive.extractfile(member).read())) as sound:  # type: ignore[union-attr]
                    samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
                found[member.name.rpartition("/")[2]] = samples.astype(np.float32) / np.float32(2**15)
    names = [name.removesuffix(".wav").split("_") for name in sorted(found)]
    speakers, speaker = np.unique([name[1] for name in names], return_inverse=True)
    digit, index = (np.array([int(name[k]) for name in names]) for k in (0, 2))
    return Recordings(tuple(found[n] for n in sorted(found)), digit, speaker, index, tuple(speakers.tolist()))


def sms(*, distinct: bool = True) -> Messages:
    """Text messages, spam or not, in the order of the file: 5,574, of which 403 repeat an earlier one.

    The repeats are left out, unless `distinct` is False: in a random split they would be on both sides. Raises
    ConvcraftError for a file that is missing or does not have the published bytes. Source: Almeida, Hidalgo
    and Yamakami (2011), Contributions to the Study of SMS Spam Filtering. Chapter: Recurrent networks.
    """
    text = find("sms-spam", "SMSSpamCollection").read_text(encoding="utf-8")
    print(LICENCES["sms-spam"])
    rows = [line.split("\t", 1) for line in text.split("\n") if line]
    if distinct:
        rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    return Messages(tuple(row[1] for row in rows), np.array([row[0] == "spam" for row in rows]))


@cache
def _filters(bands: int, window: int) -> Tensor:
    """Triangles of equal width on the mel scale, (bands, window / 2 + 1)."""
    mel = torch.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mel / 2595) - 1)
    at = torch.linspace(0, RATE / 2, window // 2 + 1, dtype=torch.float64)
    low, peak, high = (edges[k : k + bands, None] for k in range(3))
    return torch.minimum((at - low) / (peak - low), (high - at) / (high - peak)).clamp(min=0)


def mfcc(signal: ArrayLike, *, coefficients: int = 15, window: int = 256, step: int = 128) -> Tensor:
    r"""Mel-frequency cepstral coefficients of a sound of 8,000 samples a second, (frames, coefficients).

    Frames of `window` samples, `step` apart and weighted by a Hann window, give power spectra with energies
    :math:`E_b` in 26 mel bands of equal width; the result is :math:`\sum_b \log(E_b) \cos(\pi k (b + 1/2) / 26)`,
    scaled to an orthogonal transform, for k = 0, 1, ... A signal shorter than a window is padded with zeros. Raises
    ConvcraftError for an empty signal, one that is not finite, and for more than 26 coefficients. Source: Davis and
    Mermelstein (1980), Comparison of Parametric Representations for Monosyllabic Word Recognition in Continuously
    Spoken Sentences. Chapter: Recurrent networks.

    >>> mfcc(np.sin(np.arange(8000) * 0.3)).shape
    torch.Size([61, 15])
    """
    bands = 26
    x = torch.as_tensor(np.asarray(signal), dtype=torch.float64)
    if x.ndim != 1 or not len(x) or not bool(torch.isfinite(x).all()) or not 1 <= coefficients <= bands:
        raise ConvcraftError(
            f"mfcc needs a signal of finite samples, (n,), and 1 to {bands} coefficients; got shape "
            f"{tuple(x.shape)} and {coefficients}. Pass one channel of a recording."
        )
    x = torch.nn.functional.pad(x, (0, max(0, window - len(x))))
    frames = x.unfold(0, window, step) * torch.hann_window(window, dtype=torch.float64)
    power = torch.fft.rfft(frames).abs().square()  # (frames, window / 2 + 1)
    energy = (power @ _filters(bands, window).T + 1e-8).log()
    k, b = torch.arange(coefficients)[:, None], torch.arange(bands)
    cosines = torch.cos(torch.pi * k * (b + 0.5) / bands).double() * (2 / bands) ** 0.5
    cosines[0] /= 2**0.5
    return (energy @ cosines.T).float()


def recall(n: int, lag: int, *, classes: int = 4, noise: float = 0.1, seed: int = 0) -> Split:
    """Sequences (n, lag + 1, classes) whose first step holds a class as one-hot, and the class, (n,).

    The other steps hold noise alone, with standard deviation `noise`: to name the class at the end, a network
    must keep it for `lag` steps. Raises ConvcraftError for a lag below 1. Chapter: Recurrent networks.

    >>> part = recall(6, 20)
    >>> part.x.shape, bool((part.x[:, 0].argmax(-1) == part.y).all())
    (torch.Size([6, 21, 4]), True)
    """
    if lag < 1:
        raise ConvcraftError(f"lag must be 1 or more; got {lag}. Pass for example 20.")
    rng = np.random.default_rng([lag, seed])
    y = torch.from_numpy(rng.integers(classes, size=n))
    x = torch.from_numpy(noise * rng.standard_normal((n, lag + 1, classes))).float()
    x[:, 0] = torch.nn.functional.one_hot(y, classes).float()
    return Split(x, y)
