"""Spoken digits and messages: read whole or refused by name; MFCC follow their formula; recall is planted."""

import hashlib
import io
import os
import shutil
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dct

from convcraft import ConvcraftError
from convcraft.lab import data
from convcraft.lab.data import files, published

needs_data = pytest.mark.skipif(
    "CONVCRAFT_DATA" not in os.environ, reason="reads the published files: set CONVCRAFT_DATA to their folder"
)
ARCHIVE = "free-spoken-digit-dataset.tar.gz"
SOUNDS = {"1_ann_0.wav": [0, 100, -(2**15)], "0_bob_7.wav": [5], "0_ann_12.wav": [1, 2]}


def wav(samples):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.array(samples, "<i2").tobytes())
    return buffer.getvalue()


def packed(sounds=SOUNDS, folder="recordings", mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, samples in {**sounds, "README.md": []}.items():
            content = wav(samples)
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A cache of the test's own, and a server whose archive can be chosen."""
    monkeypatch.delenv("CONVCRAFT_DATA", raising=False)
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path)
    hashed = hashlib.sha256(b"".join(n.encode() + wav(SOUNDS[n]) for n in sorted(SOUNDS)))
    entry = published.RemoteFile(9, hashed.hexdigest(), ("https://x/a.tar.gz",), ".wav")
    monkeypatch.setitem(files.REGISTRY["free-spoken-digit-dataset"], ARCHIVE, entry)

    def serve(content):
        monkeypatch.setattr(files, "download", lambda address, path: Path(path).write_bytes(content))

    return serve


@pytest.mark.parametrize("how", [{}, {"folder": "a-commit/recordings", "mode": "w"}])
def test_an_archive_counts_by_its_recordings_however_it_is_packed(served, how, capsys):
    served(packed(**how))
    found = data.spoken_digits()
    assert found.speakers == ("ann", "bob") and found.digit.tolist() == [0, 0, 1]
    assert found.speaker.tolist() == [0, 1, 0] and found.index.tolist() == [12, 7, 0]
    np.testing.assert_allclose(found.signals[2], [0, 100 / 2**15, -1])
    assert "CC BY-SA" in capsys.readouterr().out


def test_an_archive_with_other_recordings_is_refused(served, tmp_path):
    whole = packed()
    for content, said in (
        (packed({**SOUNDS, "1_ann_0.wav": [0, 100, 7]}), "expected SHA-256"),
        (packed({**SOUNDS, "9_cleo_0.wav": [1]}), "expected SHA-256"),
        (whole[: len(whole) // 2], "not a whole archive"),
        (b"<html>Sign in</html>", "not a whole archive"),
    ):
        served(content)
        with pytest.raises(ConvcraftError, match="does not have the published bytes") as caught:
            data.spoken_digits()
        assert said in str(caught.value) and not list((tmp_path / "free-spoken-digit-dataset").iterdir())


@needs_data
def test_the_recordings_are_those_of_six_people(capsys):
    found = data.spoken_digits()
    assert len(found.signals) == 3000 and len(found.speakers) == 6
    assert (np.bincount(found.speaker * 10 + found.digit) == 50).all()
    assert sorted(set(found.index.tolist())) == list(range(50)) and (found.index < 5).sum() == 300
    assert all(np.abs(signal).max() <= 1 for signal in found.signals)
    assert sum(len(signal) for signal in found.signals) / 8000 > 1000  # seconds
    assert data.main([]) == 0 and f"{'sms-spam':26} all files here" in capsys.readouterr().out


@needs_data
def test_repeated_messages_are_left_out(capsys):
    found, whole = data.sms(), data.sms(distinct=False)
    assert (len(found.texts), int(found.spam.sum())) == (5171, 653)
    assert (len(whole.texts), int(whole.spam.sum())) == (5574, 747)
    assert len(set(zip(found.texts, found.spam, strict=True))) == 5171
    assert found.texts[0].startswith("Go until") and not found.spam[0] and found.spam[2]
    assert "CC BY 4.0" in capsys.readouterr().out


@needs_data
def test_published_sequences_that_are_cut_or_changed_are_refused(monkeypatch, tmp_path):
    for name, file, load in (
        ("sms-spam", "SMSSpamCollection", data.sms),
        ("free-spoken-digit-dataset", ARCHIVE, data.spoken_digits),
    ):
        path = tmp_path / name / file
        path.parent.mkdir()
        shutil.copy(files.find(name, file), path)
        path.chmod(0o644)
        whole = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setenv("CONVCRAFT_DATA", str(tmp_path))
            middle = len(whole) // 2
            changed = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
            for bad in (whole[:middle], changed):
                path.write_bytes(bad)
                with pytest.raises(ConvcraftError, match="does not have the published bytes") as caught:
                    load()
                assert str(path) in str(caught.value) and path.read_bytes() == bad


def test_mfcc_follow_their_formula():
    signal = np.sin(0.4 * np.arange(1000)) + 0.1 * np.random.default_rng(0).standard_normal(1000)
    found = data.mfcc(signal, coefficients=26)
    assert found.shape == (6, 26) and found.dtype == torch.float32
    frame = signal[128:384] * torch.hann_window(256, dtype=torch.float64).numpy()
    power = np.abs(np.fft.rfft(frame)) ** 2
    back = dct(found[1].numpy(), type=3, norm="ortho")  # log energies
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 28) / 2595) - 1)
    at = np.linspace(0, 4000, 129)
    triangle = np.interp(at, edges[9:12], [0, 1, 0])
    assert back[9] == pytest.approx(np.log(triangle @ power + 1e-8), abs=1e-3)
    quiet = data.mfcc(0.1 * signal, coefficients=26)
    np.testing.assert_allclose(quiet[:, 1:], found[:, 1:], atol=1e-2)  # loudness is in the first
    assert torch.equal(data.mfcc(signal), found[:, :15]) and data.mfcc(signal[:10]).shape == (1, 15)
    for bad, count in ((signal[:0], 15), (np.array([[0.0]]), 15), (np.array([np.nan]), 15), (signal, 27)):
        with pytest.raises(ConvcraftError, match="mfcc needs a signal"):
            data.mfcc(bad, coefficients=count)


def test_recall_hides_its_class_in_the_first_step():
    part = data.recall(400, 30, seed=3)
    assert torch.equal(part.x[:, 0], torch.nn.functional.one_hot(part.y, 4).float())
    assert part.x.shape == (400, 31, 4) and float(part.x[:, 1:].std()) == pytest.approx(0.1, rel=0.02)
    assert part.y.bincount().min() > 70
    assert torch.equal(part.x, data.recall(400, 30, seed=3).x)
    assert not torch.equal(part.y, data.recall(400, 30, seed=4).y)
    with pytest.raises(ConvcraftError, match="lag must be 1 or more"):
        data.recall(4, 0)
