"""Visits, ratings and series: read whole or refused by name; planted worlds have the rank they promise."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convcraft import ConvcraftError
from convcraft.lab import data
from convcraft.lab.data import files, published, tables

needs_data = pytest.mark.skipif(
    "CONVCRAFT_DATA" not in os.environ, reason="reads the published files: set CONVCRAFT_DATA to their folder"
)
UCI = (
    b'I,4,"www.microsoft.com"\nA,1000,1,"regwiz","/regwiz"\nA,1001,1,"Support Desktop","/support"\n'
    b'A,1002,1,"Nobody\'s","/none"\nC,"10001",10001\nV,1001,1\nC,"10002",10002\nC,"10003",10003\nV,1000,1\n'
    b"V,1001,1\n"
)
RATINGS = b"userId,movieId,rating,timestamp\n1,3,4.0,9\n7,1,0.5,8\n"
MOVIES = b'movieId,title,genres\n1,"Heat, The",x\n2,Unrated,x\n3,Jaws,y\n'


def entry(content, *addresses):
    return published.RemoteFile(len(content), hashlib.sha256(content).hexdigest(), addresses)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """No provided folder, a cache of the test's own."""
    monkeypatch.delenv("CONVCRAFT_DATA", raising=False)
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def kept(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_ucis_own_file_is_read_without_what_nobody_visited(cache, monkeypatch, capsys):
    monkeypatch.setitem(files.REGISTRY["msweb"], "anonymous-msweb.data", entry(UCI, "https://x/a.data"))
    monkeypatch.setattr(files, "download", lambda address, path: Path(path).write_bytes(UCI))
    monkeypatch.setattr(published, "MSWEB", {"anonymous-msweb.data": entry(UCI)})
    visits = data.msweb()
    assert visits.matrix.tolist() == [[False, True], [True, True]]
    assert visits.titles == ("regwiz", "Support Desktop")
    assert "UCI" in capsys.readouterr().out


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """A small MovieLens as published: its members' hashes decide, not the archive's."""
    members = {"ratings.csv": RATINGS, "movies.csv": MOVIES, "README.txt": b"terms"}
    for name, content in members.items():
        address = f"https://x/small.zip#small/{name}"
        monkeypatch.setitem(files.REGISTRY["movielens-latest-small"], name, entry(content, address))

    def pack(**changed):
        path = tmp_path / "small.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name, content in {**members, **changed}.items():
                if content is not None:
                    file.writestr(f"small/{name}", content)
        return path.read_bytes()

    return pack


def serve(monkeypatch, content):
    monkeypatch.setattr(files, "download", lambda address, path: Path(path).write_bytes(content))


def test_members_are_taken_out_of_an_archive_and_verified_one_by_one(cache, archive, monkeypatch, capsys):
    serve(monkeypatch, archive())
    found = data.movielens()
    assert (
        found.user.tolist() == [0, 1]
        and found.film.tolist() == [1, 0]
        and found.rating.tolist() == [4.0, 0.5]
    )
    assert found.titles == ("Heat, The", "Jaws") and found.time.tolist() == [9, 8]
    assert kept(cache) == [f"movielens-latest-small/{n}" for n in ("README.txt", "movies.csv", "ratings.csv")]
    assert "no commercial use" in capsys.readouterr().out


def test_a_damaged_archive_is_named_and_leaves_nothing(cache, archive, monkeypatch):
    whole = archive()
    changed, missing = archive(**{"ratings.csv": RATINGS + b"1,1,5,5\n"}), archive(**{"ratings.csv": None})
    for content, said in (
        (whole[: len(whole) // 2], "BadZipFile"),
        (b"<html>Sign in</html>", "BadZipFile"),
        (missing, "holds no small/ratings.csv"),
        (changed, hashlib.sha256(RATINGS).hexdigest()),
    ):
        serve(monkeypatch, content)
        with pytest.raises(ConvcraftError, match="ratings.csv of movielens-latest-small") as caught:
            data.movielens()
        assert said in str(caught.value) and "To get it" in str(caught.value)
        assert kept(cache) == []


def test_nab_goes_into_folders_and_marks_its_windows(cache, monkeypatch, capsys):
    rows = b"timestamp,value\n2014-07-01 00:00:00,1\n2014-07-01 00:30:00,2.5\n2014-07-01 01:00:00,3\n"
    windows = (
        b'{"realKnownCause/nyc_taxi.csv": [["2014-07-01 00:30:00.000000", "2014-07-01 00:45:00.000000"]]}'
    )
    contents = {"data/realKnownCause/nyc_taxi.csv": rows, "labels/combined_windows.json": windows}
    for name, content in contents.items():
        monkeypatch.setitem(files.REGISTRY["nab"], name, entry(content, f"https://x/{name}"))
    monkeypatch.setattr(
        files,
        "download",
        lambda address, path: Path(path).write_bytes(contents[address[len("https://x/") :]]),
    )
    series = data.nab("nyc_taxi")
    assert series.values.tolist() == [1.0, 2.5, 3.0] and series.anomalous.tolist() == [False, True, False]
    assert str(series.times[1]) == "2014-07-01T00:30:00" and "MIT" in capsys.readouterr().out
    assert kept(cache) == sorted(f"nab/{name}" for name in contents)
    with pytest.raises(ConvcraftError, match="did you mean 'nyc_taxi'"):
        data.nab("nyc-taxi")


def test_a_file_that_nobody_serves_says_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path))
    (tmp_path / "visits.csv").write_bytes(b"user,area\n0,0\n")
    with pytest.raises(ConvcraftError, match="does not have the published bytes") as caught:
        data.msweb()
    assert "put the file into a folder" in str(caught.value) and "run `python" not in str(caught.value)


@needs_data
def test_the_published_tables():
    visits = data.msweb()
    assert visits.matrix.shape == (32_710, 285) and visits.matrix.sum() == 98_653
    assert visits.matrix.any(0).all() and visits.matrix.any(1).all() and "regwiz" in visits.titles
    films = data.movielens()
    assert len(films.rating) == 100_836 and len(set(films.user)) == 610 and len(films.titles) == 9_724
    assert set(films.rating) == set(np.arange(0.5, 5.1, 0.5)) and films.titles[0] == "Toy Story (1995)"
    taxi = data.nab()
    assert len(taxi.values) == 10_320 and 0.05 < taxi.anomalous.mean() < 0.15
    assert len(data.nab_names()) == 13
    for name in data.nab_names():
        assert len(files.find("nab", next(n for n in files.REGISTRY["nab"] if name in n)).read_bytes()) > 1000
    tables = films.tables()
    assert len(tables) == 3 and {t.shape for t in tables} == {(610, 2269)}
    there = [~np.isnan(t) for t in tables]
    assert sum(there).max() == 1 and sum(there).sum(0).min() >= 10
    assert abs(there[0].sum() / sum(t.sum() for t in there) - 0.7) < 0.01


@needs_data
def test_published_tables_that_are_cut_or_changed_are_refused(monkeypatch, tmp_path):
    loaders = {"msweb": data.msweb, "movielens-latest-small": data.movielens, "nab": data.nab}
    for name in loaders:
        for file in tables.files_of(name):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(files.find(name, file), tmp_path / name / file)
            (tmp_path / name / file).chmod(0o644)
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path))
    for name, file in (
        ("msweb", "visits.csv"),
        ("movielens-latest-small", "ratings.csv"),
        ("nab", "data/realKnownCause/nyc_taxi.csv"),
    ):
        path = tmp_path / name / file
        whole = path.read_bytes()
        for bad in (whole[:-9], bytes([whole[0] ^ 1]) + whole[1:]):
            path.write_bytes(bad)
            with pytest.raises(ConvcraftError, match="does not have the published bytes") as caught:
                loaders[name]()
            assert str(path) in str(caught.value) and path.read_bytes() == bad
        path.write_bytes(whole)
        loaders[name]()


@needs_data
def test_the_command_knows_the_tables(capsys):
    assert data.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name:26} all files here" in listed for name in ("msweb", "movielens-latest-small", "nab"))
    assert data.main(["msweb"]) == 0 and "visits.csv" in capsys.readouterr().out


def test_one_visit_of_each_further_visitor_is_held_out():
    matrix = np.random.default_rng(0).random((60, 9)) < 0.4
    splits = data.leave_one_out(matrix, (20, 10, 15), seed=3)
    assert splits.train.x.shape == (20, 9) and (splits.train.x.sum(1) >= 2).all()
    rows = [splits.train.x.bool().numpy()]
    for part in (splits.validation, splits.test):
        whole = part.x.bool().numpy().copy()
        assert not whole[np.arange(len(part)), part.y].any()  # what is held out is not in the input
        whole[np.arange(len(part)), part.y] = True
        rows.append(whole)
    left = [row.tolist() for row in matrix]
    for row in np.concatenate(rows).tolist():
        left.remove(row)  # each visitor is in one part
    with pytest.raises(ConvcraftError, match="sizes must not exceed"):
        data.leave_one_out(matrix, (50, 10, 10))


def test_planted_worlds_have_the_rank_they_promise():
    for world, rank in (("bilinear", 3), ("xor", 1), ("ring", 10)):
        for seed in range(3):
            table = data.ratings(world, seed=seed)
            assert table.shape == (300, 200) and table.std() == pytest.approx(1)
            share = np.cumsum(np.linalg.svd(table, compute_uv=False) ** 2) / (table**2).sum()
            assert share[rank - 1] > 0.99 and (rank == 1 or share[rank - 2] < 0.99)
    assert not np.array_equal(data.ratings("ring", seed=0), data.ratings("ring", seed=1))
    with pytest.raises(ConvcraftError, match="did you mean 'ring'"):
        data.ratings("rings")


def test_planted_series_do_what_they_say():
    chaos = data.mackey_glass(500)
    assert np.array_equal(chaos[:100], data.mackey_glass(100)) and 0.2 < chaos.min() < chaos.max() < 1.5
    near = data.mackey_glass(500, seed=1)
    assert np.abs(chaos - near)[100:].max() > 0.3  # other starts, other paths
    calm = data.seasonal(96, noise=0.0, trend=0.5)
    np.testing.assert_allclose(calm[24:] - calm[:-24], 0.5)
    noise = data.seasonal(4000, noise=0.3) - data.seasonal(4000, noise=0.0)
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(0.8, abs=0.05)
