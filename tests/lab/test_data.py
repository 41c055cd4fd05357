"""Data sets: splits that do not overlap, and files that are whole or named in the error."""

import gzip
import hashlib
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError
from convcraft.lab import data
from convcraft.lab.data import Split, Splits, files, load, stratified_order

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
needs_fashion_mnist = pytest.mark.skipif(
    "CONVCRAFT_DATA" not in os.environ,
    reason="reads the published Fashion-MNIST files: set CONVCRAFT_DATA to the folder that holds them",
)


# ---- splits


def test_digits_are_split_1000_297_500_without_overlap():
    from sklearn.datasets import load_digits

    splits = load("digits")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [1000, 297, 500]
    parts = torch.cat([part.x for part in (splits.train, splits.validation, splits.test)]).flatten(1)
    labels = torch.cat([part.y for part in (splits.train, splits.validation, splits.test)])
    bunch = load_digits()
    ours = sorted(zip((parts * 16).int().tolist(), labels.tolist(), strict=True))
    theirs = sorted(zip(bunch.data.astype(int).tolist(), bunch.target.tolist(), strict=True))
    assert ours == theirs  # each published image once, with its label
    assert splits.chance == 0.1 and splits.classes == tuple("0123456789")


def test_digits_are_in_proportion_and_in_range():
    splits = load("digits")
    counts = [part.y.bincount().double() for part in (splits.train, splits.validation, splits.test)]
    total = sum(counts)
    for part, count in zip((splits.train, splits.validation, splits.test), counts, strict=True):
        assert (count - total * len(part) / 1797).abs().max() < 2
        assert part.x.dtype == torch.float32 and part.y.dtype == torch.int64
        assert part.x.shape[1:] == (1, 8, 8) and 0 <= part.x.min() and part.x.max() == 1


def test_the_split_is_a_function_of_the_seed():
    first, again, other = load(), load(seed=0), load(seed=1)
    assert torch.equal(first.test.x, again.test.x)
    assert not torch.equal(first.test.x, other.test.x)
    assert load(dtype=torch.float64).train.x.dtype == torch.float64


def test_loading_leaves_the_random_state():
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    load().train.subset(10, 3)
    assert np.array_equal(np.random.get_state()[1], before)
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_every_stretch_of_the_order_is_in_proportion():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    order = stratified_order(labels, seed=2)
    assert sorted(order) == list(range(1000))
    for stretch in (order[:50], order[50:500], order[900:]):
        share = np.bincount(labels[stretch], minlength=3) / len(stretch)
        assert np.abs(share - [0.6, 0.3, 0.1]).max() <= 2 / len(stretch)
    assert not np.array_equal(order, stratified_order(labels, seed=3))


def test_a_subset_is_drawn_without_replacement_and_in_proportion():
    part = load().train
    subset = part.subset(200, seed=1)
    assert len(subset) == 200 and len(subset.x.flatten(1).unique(dim=0)) == 200
    assert (subset.y.bincount() - part.y.bincount() / 5).abs().max() < 2
    assert torch.equal(subset.x, part.subset(200, seed=1).x)
    assert not torch.equal(subset.x, part.subset(200, seed=2).x)
    assert len(part.subset(0)) == 0 and len(part.subset(1000)) == 1000
    regression = Split(torch.rand(9, 2), torch.rand(9, 1)).subset(4)
    assert regression.x.shape == (4, 2) and regression.y.shape == (4, 1)


def test_standardizing_measures_the_training_part_only():
    splits = load()
    standard = splits.standardized()
    assert standard.train.x.mean().abs() < 1e-5
    assert standard.train.x.std(correction=0) == pytest.approx(1, abs=1e-5)
    mean, deviation = splits.train.x.mean(), splits.train.x.std(correction=0)
    torch.testing.assert_close(standard.test.x, (splits.test.x - mean) / deviation)
    torch.testing.assert_close(splits.flattened().standardized().test.x, standard.flattened().test.x)
    part = Split(torch.rand(50, 3, 4, 4) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1), torch.zeros(50))
    coloured = Splits(part, part, part, "rgb", ()).standardized().train.x
    torch.testing.assert_close(coloured.std((0, 2, 3), correction=0), torch.ones(3))


def test_flattening_and_moving_keep_the_labels():
    splits = load()
    flat = splits.flattened().to("cpu")
    assert flat.train.x.shape == (1000, 64) and torch.equal(flat.test.y, splits.test.y)
    assert repr(flat) == "Splits('digits', 1000/297/500, x=(64,), 10 classes)"
    assert repr(flat.test) == "Split(x=(500, 64), y=(500,))"


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: load("digit"), r"unknown data set 'digit': did you mean 'digits'\?"),
        (lambda: load("fashion_mnist"), "did you mean 'fashion-mnist'"),
        (lambda: Split(torch.zeros(3, 2), torch.zeros(2)), r"x of shape \(3, 2\) and y of shape \(2,\)"),
        (lambda: Split(torch.zeros(3), torch.tensor(1.0)), "one entry per example"),
        (lambda: load().test.subset(501), "500 examples"),
        (lambda: load().test.subset(-1), "got -1"),
    ],
)
def test_misuse_is_named(call, named):
    with pytest.raises(ConvcraftError, match=named):
        call()


def test_a_constant_channel_cannot_be_standardized():
    part = Split(torch.ones(4, 1, 2, 2), torch.zeros(4))
    with pytest.raises(ConvcraftError, match="training part that varies"):
        Splits(part, part, part, "flat", ()).standardized()


# ---- files: a small data set of the published form, with addresses and a cache of the test's own


def idx(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Four small files as published; `served` is what the addresses give, the cache lies in tmp_path."""
    rng = np.random.default_rng(0)
    contents = {}
    for which, n in (("train", 60_000), ("t10k", 10_000)):
        contents[f"{which}-images-idx3-ubyte.gz"] = idx(rng.integers(0, 256, (n, 2, 2)))
        contents[f"{which}-labels-idx1-ubyte.gz"] = idx(np.arange(n) % 10)
    for name, content in contents.items():
        file = files.FASHION_MNIST[name]
        entry = files.RemoteFile(len(content), hashlib.sha256(content).hexdigest(), file.addresses)
        monkeypatch.setitem(files.FASHION_MNIST, name, entry)
    monkeypatch.delenv("CONVCRAFT_DATA", raising=False)
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(files, "download", no_network)
    return contents


def no_network(address, path):
    raise ConnectionError("no network")


def serve(contents, log=None):
    def download(address, path):
        if log is not None:
            log.append(address)
        Path(path).write_bytes(contents[address.rsplit("/", 1)[1]])

    return download


def put(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_files_are_downloaded_verified_kept_and_read_from_the_cache(published, monkeypatch, tmp_path):
    log = []
    monkeypatch.setattr(files, "download", serve(published, log))
    splits = load("fashion-mnist")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [55_000, 5_000, 10_000]
    assert cached(tmp_path) == sorted(published) and len(log) == 4
    assert all(address == files.FASHION_MNIST[address.rsplit("/", 1)[1]].addresses[0] for address in log)
    monkeypatch.setattr(files, "download", no_network)
    assert torch.equal(load("fashion-mnist").train.x, splits.train.x)


def test_the_second_address_serves_when_the_first_does_not(published, monkeypatch, tmp_path):
    first = files.FASHION_MNIST[LABELS].addresses[0]

    def download(address, path):
        if address == first:
            no_network(address, path)
        serve(published)(address, path)

    monkeypatch.setattr(files, "download", download)
    assert files.find("fashion-mnist", LABELS).read_bytes() == published[LABELS]


def test_without_network_the_message_says_which_file_and_how_to_get_it(published, tmp_path):
    with pytest.raises(ConvcraftError) as caught:
        load("fashion-mnist")
    message = str(caught.value)
    expected = files.FASHION_MNIST[IMAGES]
    assert IMAGES in message and expected.sha256 in message and "does not exist" in message
    assert "ConnectionError: no network" in message and all(
        address in message for address in expected.addresses
    )
    assert "python -m convcraft data fashion-mnist" in message and "CONVCRAFT_DATA=DIR" in message
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "page"])
def test_a_damaged_download_is_refused_with_both_hashes_and_leaves_nothing(
    published, monkeypatch, tmp_path, damage
):
    whole = published[IMAGES]
    bad = {
        "truncated": whole[: len(whole) // 2],
        "flipped": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
        "page": b"<html>Sign in to the network</html>",
    }[damage]
    monkeypatch.setattr(files, "download", serve({**published, IMAGES: bad}))
    with pytest.raises(ConvcraftError) as caught:
        load("fashion-mnist")
    message = str(caught.value)
    assert IMAGES in message and hashlib.sha256(whole).hexdigest() in message
    assert hashlib.sha256(bad).hexdigest() in message and f"({len(bad)} bytes)" in message
    assert "To get it" in message
    assert cached(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ConnectionResetError])
def test_an_interrupted_download_leaves_no_half_written_file(published, monkeypatch, tmp_path, error):
    def download(address, path):
        Path(path).write_bytes(published[IMAGES][:1000])
        raise error("in the middle")

    monkeypatch.setattr(files, "download", download)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else ConvcraftError):
        load("fashion-mnist")
    assert cached(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_replaced(published, monkeypatch, tmp_path):
    put(tmp_path / "cache" / "fashion-mnist", {**published, IMAGES: published[IMAGES][:-1]})
    monkeypatch.setattr(files, "download", serve(published))
    load("fashion-mnist")
    assert (tmp_path / "cache" / "fashion-mnist" / IMAGES).read_bytes() == published[IMAGES]


def test_a_damaged_file_in_the_cache_is_named_when_there_is_no_network(published, tmp_path):
    bad = published[IMAGES][:-1]
    put(tmp_path / "cache" / "fashion-mnist", {**published, IMAGES: bad})
    with pytest.raises(ConvcraftError, match=f"has SHA-256 {hashlib.sha256(bad).hexdigest()}"):
        load("fashion-mnist")


@pytest.mark.parametrize("layout", ["fashion-mnist", ""])
def test_the_provided_folder_is_read_in_both_layouts(published, monkeypatch, tmp_path, layout):
    put(tmp_path / "mine" / layout, published)
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path / "mine"))
    assert len(load("fashion-mnist").train) == 55_000
    assert cached(tmp_path) == []


def test_a_provided_folder_without_the_file_is_named_and_nothing_is_downloaded(
    published, monkeypatch, tmp_path
):
    monkeypatch.setattr(files, "download", serve(published))
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path / "empty"))
    with pytest.raises(ConvcraftError) as caught:
        load("fashion-mnist")
    message = str(caught.value)
    folder = tmp_path / "empty"
    assert str(folder / IMAGES) in message and str(folder / "fashion-mnist" / IMAGES) in message
    assert files.FASHION_MNIST[IMAGES].sha256 in message and "To get it" in message
    assert cached(tmp_path) == [] and not folder.exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_provided_file_is_refused_and_left_alone(published, monkeypatch, tmp_path, damage):
    whole = published[LABELS]
    bad = whole[:-7] if damage == "truncated" else bytes([whole[0] ^ 128]) + whole[1:]
    put(tmp_path / "mine", {**published, LABELS: bad})
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path / "mine"))
    with pytest.raises(ConvcraftError) as caught:
        load("fashion-mnist")
    message = str(caught.value)
    assert str(tmp_path / "mine" / LABELS) in message
    assert hashlib.sha256(whole).hexdigest() in message and hashlib.sha256(bad).hexdigest() in message
    assert (tmp_path / "mine" / LABELS).read_bytes() == bad


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9]) + b"12345678"),
        gzip.compress(bytes([0, 0, 13, 1, 0, 0, 0, 1]) + b"1234"),
        gzip.compress(b""),
        gzip.compress(b"\0\0\x08\0"),
        idx(np.zeros((4, 4)))[:-9],
        b"not gzip at all",
    ],
    ids=["too short", "no bytes", "empty", "no dimensions", "cut off", "not gzip"],  # gzip holds the time
)
def test_what_is_not_an_idx_file_is_refused(tmp_path, content):
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(ConvcraftError, match="file.gz is not"):
        files.read_idx(tmp_path / "file.gz")


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (0,)])
def test_idx_arrays_are_read_as_written(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "file.gz").write_bytes(idx(array))
    assert np.array_equal(files.read_idx(tmp_path / "file.gz"), array)


def test_downloads_go_through_pooch(monkeypatch, tmp_path):
    import pooch

    calls = []

    class Downloader:
        def __init__(self, **options):
            pass

        def __call__(self, address, path, registry):
            calls.append((address, path))

    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    files.download("https://example.org/a.gz", str(tmp_path / "a"))
    assert calls == [("https://example.org/a.gz", str(tmp_path / "a"))]
    assert files.cache_folder() == Path(pooch.os_cache("convcraft"))


# ---- the command line


def test_the_command_lists_fetches_and_fails_with_the_reason(published, monkeypatch, tmp_path, capsys):
    assert data.main([]) == 0
    listed = capsys.readouterr().out
    assert "digits" in listed and "not fetched yet" in listed and str(tmp_path / "cache") in listed
    assert data.main(["fashion-mnist"]) == 1
    assert "could not be downloaded" in capsys.readouterr().err
    monkeypatch.setattr(files, "download", serve(published))
    assert data.main(["fashion-mnist"]) == 0
    assert str(tmp_path / "cache" / "fashion-mnist" / IMAGES) in capsys.readouterr().out
    assert data.main([]) == 0 and "all files here" in capsys.readouterr().out
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path / "nowhere"))
    assert data.main([]) == 0 and "not usable: data file" in capsys.readouterr().out
    assert data.main(["digits"]) == 0 and "1000/297/500" in capsys.readouterr().out
    assert data.main(["digit"]) == 1 and "did you mean 'digits'" in capsys.readouterr().err


# ---- the published files


@needs_fashion_mnist
def test_the_published_fashion_mnist():
    splits = load("fashion-mnist")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [55_000, 5_000, 10_000]
    assert splits.train.x.shape[1:] == (1, 28, 28) and splits.train.x.max() == 1
    for part in (splits.train, splits.validation, splits.test):
        assert part.y.bincount().tolist() == [len(part) // 10] * 10
    assert splits.classes[9] == "Ankle boot" and int(splits.test.y[0]) == 9
    assert round(float(splits.train.x.mean()), 2) == 0.29


@needs_fashion_mnist
def test_published_files_flat_and_damaged(monkeypatch, tmp_path):
    paths = {name: files.find("fashion-mnist", name) for name in files.FASHION_MNIST}
    for name, path in paths.items():
        assert path.stat().st_size == files.FASHION_MNIST[name].size
        shutil.copy(path, tmp_path / name)
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path))
    assert files.find("fashion-mnist", LABELS) == tmp_path / LABELS
    whole = (tmp_path / LABELS).read_bytes()
    (tmp_path / LABELS).write_bytes(whole[:-1])
    with pytest.raises(ConvcraftError, match=files.FASHION_MNIST[LABELS].sha256):
        load("fashion-mnist")
