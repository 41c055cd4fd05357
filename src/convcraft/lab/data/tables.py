"""The tables behind the case studies: visits to a web site, ratings of films, time series with anomalies.

Each loader reads verified files (see `files`), prints the licence, and returns plain arrays.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError
from convcraft.lab.data.files import find, provided_folder
from convcraft.lab.data.published import LICENCES, MSWEB, MSWEB_TABLES, REGISTRY
from convcraft.lab.data.splits import Split, Splits


@dataclass(frozen=True)
class Visits:
    """Who visited what: `matrix` (visitors, areas), bool; `titles` of the areas."""

    matrix: NDArray[np.bool_]
    titles: tuple[str, ...]


@dataclass(frozen=True)
class Ratings:
    """Ratings as columns (n,): `user` and `film` from 0, `rating` 0.5 to 5, `time` in Unix seconds; film `titles`."""

    user: NDArray[np.int64]
    film: NDArray[np.int64]
    rating: NDArray[np.float64]
    time: NDArray[np.int64]
    titles: tuple[str, ...]

    def tables(self, *, least: int = 10, seed: int = 0) -> list[NDArray[np.float64]]:
        """Training, validation and test ratings, each (users, films) with nan where there is none.

        Only films with `least` ratings or more; each rating goes to one part, with probability 0.7, 0.1 and 0.2.
        """
        kept = np.bincount(self.film) >= least
        rows = kept[self.film]
        user, film = self.user[rows], (kept.cumsum() - 1)[self.film[rows]]
        part = np.random.default_rng(seed).choice(3, size=len(user), p=(0.7, 0.1, 0.2))
        parts = np.full((3, self.user.max() + 1, kept.sum()), np.nan)
        parts[part, user, film] = self.rating[rows]
        return list(parts)


@dataclass(frozen=True)
class Series:
    """A series with its labelled anomalies: `times` (n,), `values` (n,), `anomalous` (n,) bool."""

    times: NDArray[np.datetime64]
    values: NDArray[np.float64]
    anomalous: NDArray[np.bool_]


def files_of(name: str) -> list[str]:
    """The files that a data set is read from."""
    if name != "msweb":
        return list(REGISTRY[name])
    folder = provided_folder()
    tables = folder is not None and any((f / "visits.csv").is_file() for f in (folder / name, folder))
    return list(MSWEB_TABLES if tables else MSWEB)


def _rows(path: Path, encoding: str = "utf-8") -> list[list[str]]:
    with path.open(newline="", encoding=encoding) as file:
        return list(csv.reader(file))


def msweb() -> Visits:
    """Visits of 32,710 people to 285 areas of a web site, one week of February 1998.

    Read from `visits.csv` and `areas.csv` where the folder that `CONVCRAFT_DATA` names has them, else from
    UCI's own file, without the areas and people that have no visit. Raises ConvcraftError for a file that is
    missing or does not have the published bytes.

    Source: Breese, Heckerman and Kadie (1998), Empirical Analysis of Predictive Algorithms for Collaborative
    Filtering. Chapter: Recommenders.
    """
    paths = [find("msweb", name) for name in files_of("msweb")]
    print(LICENCES["msweb"])
    if len(paths) == 2:
        visits = np.array(_rows(paths[0])[1:], dtype=np.int64)
        titles = {int(area): title for area, title in _rows(paths[1])[1:]}
    else:  # lines "A,number,1,title,address" (areas), "C,name,number" (a visitor), "V,area,1" (a visit by the last)
        rows, pairs, visitor = _rows(paths[0], "latin-1"), [], -1
        titles = {int(row[1]): row[3] for row in rows if row[0] == "A"}
        for kind, *rest in rows:
            if kind == "C":
                visitor = int(rest[1])
            elif kind == "V":
                pairs.append((visitor, int(rest[0])))
        visits = np.array(pairs, dtype=np.int64)
    users, user = np.unique(visits[:, 0], return_inverse=True)
    areas, area = np.unique(visits[:, 1], return_inverse=True)
    matrix = np.zeros((len(users), len(areas)), dtype=bool)
    matrix[user, area] = True
    return Visits(matrix, tuple(titles[int(one)] for one in areas))


def leave_one_out(visits: ArrayLike, sizes: tuple[int, int, int], *, seed: int = 0) -> Splits:
    """Visitors with two visits or more, in three parts; validation and test visitors have one visit held out.

    `train` has the whole rows (n, areas) as x and as y; the other parts have the row without one visit, drawn
    at random, as x, and the number of its area as y. Raises ConvcraftError for fewer such visitors than the
    sizes ask for. Chapter: Recommenders.

    >>> splits = leave_one_out(np.ones((9, 3)), (4, 2, 3))
    >>> splits.train.x.shape, splits.test.x.sum(1).tolist(), len(splits.validation)
    (torch.Size([4, 3]), [2.0, 2.0, 2.0], 2)
    """
    matrix, rng = np.asarray(visits, dtype=bool), np.random.default_rng(seed)
    rows = matrix[rng.permutation(np.flatnonzero(matrix.sum(1) >= 2))]
    if sum(sizes) > len(rows):
        raise ConvcraftError(f"sizes must not exceed the {len(rows)} visitors with two visits; got {sizes}.")
    known, *others, _ = np.split(rows, np.cumsum(sizes))
    whole, parts = torch.from_numpy(known).float(), []
    for part in others:
        areas = np.array([rng.choice(np.flatnonzero(row)) for row in part], dtype=np.int64)
        rest = part.copy()
        rest[np.arange(len(part)), areas] = False
        parts.append(Split(torch.from_numpy(rest).float(), torch.from_numpy(areas)))
    validation, test = parts
    return Splits(Split(whole, whole), validation, test, "leave one out", ())


def movielens() -> Ratings:
    """100,836 ratings of 610 users for 9,724 films, version of September 2018: read here, not redistributed.

    The licence forbids commercial use and ties redistribution to the same terms, so they are fetched from their
    publisher and are not part of the package. Films without a rating are left out. Raises ConvcraftError for a
    file that is missing or does not have the published bytes.

    Source: Harper and Konstan (2015), The MovieLens Datasets: History and Context. Chapter: Recommenders.
    """
    paths = {name: find("movielens-latest-small", name) for name in files_of("movielens-latest-small")}
    print(LICENCES["movielens-latest-small"])
    columns = np.array(_rows(paths["ratings.csv"])[1:])
    titles = {int(row[0]): row[1] for row in _rows(paths["movies.csv"])[1:]}
    films, film = np.unique(columns[:, 1].astype(np.int64), return_inverse=True)
    _, user = np.unique(columns[:, 0].astype(np.int64), return_inverse=True)
    rating, time = columns[:, 2].astype(np.float64), columns[:, 3].astype(np.int64)
    return Ratings(user, film, rating, time, tuple(titles[int(one)] for one in films))


def nab_names() -> list[str]:
    """Names of the series of the Numenta Anomaly Benchmark that `nab` knows. Chapter: Series.

    >>> "nyc_taxi" in nab_names()
    True
    """
    return [Path(name).stem for name in REGISTRY["nab"] if name.endswith(".csv")]


def nab(name: str = "nyc_taxi") -> Series:
    """A series of the Numenta Anomaly Benchmark, anomalous within the benchmark's windows.

    Raises ConvcraftError for an unknown name, and for a file that is missing or does not have the published
    bytes.

    Source: Lavin and Ahmad (2015), Evaluating Real-Time Anomaly Detection Algorithms. Chapter: Series.
    """
    check_known("series", name, nab_names())
    file = next(path for path in REGISTRY["nab"] if Path(path).stem == name)
    rows = _rows(find("nab", file))[1:]
    windows = json.loads(find("nab", "labels/combined_windows.json").read_text(encoding="utf-8"))
    print(LICENCES["nab"])
    times = np.array([row[0] for row in rows], dtype="datetime64[s]")
    anomalous = np.zeros(len(times), dtype=bool)
    for start, end in windows[file.removeprefix("data/")]:
        anomalous |= (times >= np.datetime64(start)) & (times <= np.datetime64(end))
    return Series(times, np.array([float(row[1]) for row in rows]), anomalous)
