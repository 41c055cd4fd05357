"""`python -m convcraft data [NAME]`: list the data sets, or fetch one and say where its files are."""

import argparse
import sys

from convcraft.errors import ConvcraftError
from convcraft.lab.data import files, sequences, tables
from convcraft.lab.data.images import load, names

TABLES = {
    "msweb": tables.msweb,
    "movielens-latest-small": tables.movielens,
    "nab": tables.nab,
    "free-spoken-digit-dataset": sequences.spoken_digits,
    "sms-spam": sequences.sms,
}


def _state(name: str) -> str:
    if name not in files.REGISTRY:
        return "comes with scikit-learn, no download"
    try:
        missing = [file for file in tables.files_of(name) if files.locate(name, file) is None]
    except ConvcraftError as error:
        return f"not usable: {error}"
    megabytes = sum(files.REGISTRY[name][file].size for file in missing) / 1e6
    return f"not fetched yet, {megabytes:.0f} MB to download" if missing else "all files here"


def main(argv: list[str] | None = None) -> int:
    """`python -m convcraft data [NAME]`: 0 when it succeeded, else 1, with the reason on stderr."""
    parser = argparse.ArgumentParser("python -m convcraft data", description=__doc__)
    parser.add_argument("name", nargs="?", help="the data set to fetch; without it, all are listed")
    name = parser.parse_args(argv).name
    try:
        if name is None:
            for known in (*names(), *TABLES):
                print(f"{known:26} {_state(known)}")
            folder = files.provided_folder()
            print(f"{'CONVCRAFT_DATA':26} {folder}" if folder else f"{'cache':26} {files.cache_folder()}")
            return 0
        if name in TABLES:
            TABLES[name]()
        else:
            print(load(name))
        for file in tables.files_of(name) if name in files.REGISTRY else ():
            print(files.find(name, file))
    except ConvcraftError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
