"""The built site, made once for all the tests that look at it."""

from __future__ import annotations

import functools
import http.server
import pathlib
import subprocess
import sys
import threading

import pytest
from filelock import FileLock

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"


def newest_source() -> float:
    """When something that the pages are made of was last changed."""
    files = [ROOT / "_config.yml", ROOT / "_toc.yml", *(ROOT / "tools").glob("*.py")]
    files += [p for folder in ("book", "src/convcraft") for p in (ROOT / folder).rglob("*") if p.is_file()]
    return max(
        p.stat().st_mtime for p in files if "__pycache__" not in p.parts and not p.name.startswith(".")
    )


@pytest.fixture(scope="session")
def site() -> pathlib.Path:
    """The folder of the built pages, built first where they are missing or older than their sources."""
    (ROOT / "_build").mkdir(exist_ok=True)
    stamp = SITE / ".checked"
    with FileLock(ROOT / ".build.lock"):
        if not stamp.exists() or stamp.stat().st_mtime < newest_source():
            command = [sys.executable, str(ROOT / "tools" / "build_book.py"), "--no-check"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, (
                f"the book does not build:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
            )
            stamp.touch()
    return SITE


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def server(site):
    """The address of a plain web server on the built pages."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
