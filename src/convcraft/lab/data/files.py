"""Published files: where they are, whether they are intact, and how they are fetched.

A file counts only when its SHA-256 is the published one. A download goes to a temporary file in the folder of
the cache and takes the file's name when it has been verified, so the cache never holds half a file.
"""

import gzip
import hashlib
import os
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convcraft.errors import ConvcraftError
from convcraft.lab.data.published import FASHION_MNIST, REGISTRY, RemoteFile

__all__ = ["FASHION_MNIST", "REGISTRY", "RemoteFile", "find", "locate", "read_idx"]


def cache_folder() -> Path:
    """The folder of the user's cache that downloads go to."""
    import pooch

    return Path(pooch.os_cache("convcraft"))


def provided_folder() -> Path | None:
    """The folder that `CONVCRAFT_DATA` names, if it is set."""
    value = os.environ.get("CONVCRAFT_DATA", "")
    return Path(value).expanduser() if value else None


def sha256(path: Path, members: str = "") -> str:
    """SHA-256 of a file, in hexadecimal; for an archive, that of the names and contents of its `members`."""
    import pooch

    if not members:
        return str(pooch.file_hash(str(path), alg="sha256"))
    try:
        with tarfile.open(path) as archive:
            found = {
                one.name.rpartition("/")[2]: archive.extractfile(one).read()  # type: ignore[union-attr]
                for one in archive
                if one.isfile() and one.name.endswith(members)
            }
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        return f"none, since it is not a whole archive ({error})"
    hashed = hashlib.sha256()
    for name in sorted(found):
        hashed.update(name.encode() + found[name])
    return hashed.hexdigest()


def _advice(data_set: str, name: str) -> str:
    addresses = REGISTRY[data_set][name].addresses
    source = f" from {' or '.join(addresses)}" if addresses else ""
    download = f"run `python -m convcraft data {data_set}` with a network, or " if addresses else ""
    return (
        f"To get it: {download}put the file{source} into a folder DIR (as DIR/{data_set}/{name} or "
        f"DIR/{name}) and set CONVCRAFT_DATA=DIR."
    )


def _corrupt(data_set: str, name: str, where: Path | str, found: str, size: int) -> ConvcraftError:
    published = REGISTRY[data_set][name]
    return ConvcraftError(
        f"data file {name} of {data_set} at {where} does not have the published bytes: expected SHA-256 "
        f"{published.sha256} ({published.size} bytes), found {found} ({size} bytes). {_advice(data_set, name)}"
    )


def locate(data_set: str, name: str) -> Path | None:
    """Path of an intact copy of the file, without a download; None if the cache has none.

    Raises ConvcraftError if `CONVCRAFT_DATA` is set and its folder has no intact copy.
    """
    folder, wanted = provided_folder(), REGISTRY[data_set][name]
    if folder is None:
        path = cache_folder() / data_set / name
        return path if path.is_file() and sha256(path, wanted.members) == wanted.sha256 else None
    candidates = (folder / data_set / name, folder / name)
    for path in candidates:
        if path.is_file():
            found = sha256(path, wanted.members)
            if found != wanted.sha256:
                raise _corrupt(data_set, name, path, found, path.stat().st_size)
            return path
    looked = " and ".join(str(path) for path in candidates)
    raise ConvcraftError(
        f"data file {name} of {data_set} is missing: CONVCRAFT_DATA is {folder}, but neither of {looked} "
        f"exists (expected SHA-256 {wanted.sha256}). {_advice(data_set, name)} Without CONVCRAFT_DATA it is "
        "downloaded."
    )


def find(data_set: str, name: str) -> Path:
    """The verified file: from `CONVCRAFT_DATA`, else from the cache, else downloaded into the cache.

    Raises a ConvcraftError that names the file, the expected and the found hash, and how to get it.
    """
    return locate(data_set, name) or _fetch(data_set, name, cache_folder() / data_set)


def _fetch(data_set: str, name: str, folder: Path) -> Path:
    """Download into `folder` from the first address that serves the published bytes."""
    held, published = folder / name, REGISTRY[data_set][name]
    held.parent.mkdir(parents=True, exist_ok=True)
    corrupt: ConvcraftError | None = None
    failures = []
    for address in published.addresses:
        handle, temporary = tempfile.mkstemp(prefix=f".{held.name}.", suffix=".part", dir=held.parent)
        os.close(handle)
        try:
            archive, _, member = address.partition("#")
            download(archive, temporary)
            if member:  # the member takes the place of its archive
                with zipfile.ZipFile(temporary) as whole:
                    if member not in whole.namelist():
                        raise zipfile.BadZipFile(f"the archive holds no {member}")
                    content = whole.read(member)
                Path(temporary).write_bytes(content)
            found = sha256(Path(temporary), published.members)
            if found == published.sha256:
                os.replace(temporary, held)
                return held
            corrupt = _corrupt(data_set, name, address, found, Path(temporary).stat().st_size)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:  # requests raises OSErrors
            failures.append(f"{address}: {type(error).__name__}: {error}")
        finally:
            Path(temporary).unlink(missing_ok=True)
    if corrupt is not None:
        raise corrupt
    state = f"{held} does not exist"
    if held.is_file():
        state = f"the copy in the cache, {held}, has SHA-256 {sha256(held)}"
    raise ConvcraftError(
        f"data file {name} of {data_set} could not be downloaded: {state}, expected SHA-256 "
        f"{published.sha256}. {'; '.join(failures)}. {_advice(data_set, name)}"
    )


def download(address: str, path: str) -> None:
    """Download an address to a path through pooch, with a bar on a terminal."""
    import pooch

    pooch.HTTPDownloader(progressbar=sys.stderr.isatty())(address, path, None)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of bytes in a gzip-compressed IDX file, the format of MNIST and its kin.

    The format: two zero bytes, 8 for unsigned bytes, the number of dimensions; each dimension as a big-endian 32-bit
    integer; the entries, the last dimension fastest. Raises ConvcraftError when the file is anything else.

    Source: LeCun, Cortes and Burges (1998), The MNIST Database of Handwritten Digits.
    """
    try:
        content = gzip.decompress(Path(path).read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ConvcraftError(f"{path} is not a whole gzip file ({error}). Fetch it again.") from error
    dimensions = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    start = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:start], ">i4") if len(content) >= start else ()
    if not len(shape) or len(content) != start + int(np.prod(shape)):
        raise ConvcraftError(
            f"{path} is not an IDX file of unsigned bytes: expected the header 00 00 08, the dimensions and as many "
            f"bytes as they say; got {len(content)} bytes that start with {content[:4].hex(' ')}. Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
