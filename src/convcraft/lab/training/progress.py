"""A progress bar, shown where somebody is watching."""

import sys
from typing import Any, Self


def somebody_watches() -> bool:
    """Whether stderr is a terminal, or a notebook is run by hand.

    A front end lets a kernel ask for input; a program that executes a notebook for its outputs does not.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return sys.stderr is not None and sys.stderr.isatty()


class Bar:
    """A context manager: tqdm's bar if it is wanted (None: where somebody is watching) and installed, else nothing."""

    def __init__(self, total: int, wanted: bool | None, unit: str, **options: Any) -> None:
        self._bar: Any = None
        if somebody_watches() if wanted is None else wanted:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True, **{"leave": False, **options})

    def advance(self, steps: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
