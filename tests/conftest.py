"""What every test relies on: one thread, one seed, and one browser for all tests that look at a page."""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile

import hypothesis
import numpy as np
import pytest
import torch

# A busy machine is slow, not wrong; and a run of CI is to be the same each time.
hypothesis.settings.register_profile("project", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.load_profile("project")

# torch.compile keeps what it generated for one kind of kernels, and would use it for another kind too.
_KERNELS = f"torchinductor_{getpass.getuser()}_{torch.backends.cpu.get_cpu_capability().lower()}"
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(tempfile.gettempdir(), _KERNELS))

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Results and times that do not depend on the cores of the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_seed():
    """The same random numbers for a test in whatever order the tests run."""
    torch.manual_seed(0)
    np.random.seed(0)


def browser_path() -> str | None:
    """The Chromium or Chrome of this machine; CHROMIUM names another one."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium. Without one the tests are skipped, or fail where CONVCRAFT_REQUIRE_BROWSER=1."""
    path = browser_path()
    if path is None:
        reason = f"no Chromium or Chrome found (looked for {', '.join(BROWSERS)}); CHROMIUM=/path names one"
        if os.environ.get("CONVCRAFT_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    api = pytest.importorskip("playwright.sync_api")
    flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to run as root with it
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()
