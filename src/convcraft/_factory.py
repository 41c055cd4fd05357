"""What a command line names as MODULE:FACTORY: the user's own code, loaded and called."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ConvcraftError, unknown


def load(command: str, factory: str) -> Any:
    """What MODULE:FACTORY names; MODULE is a dotted name, the current folder included, or a .py file."""
    name, colon, attribute = factory.rpartition(":")
    if not (name and colon and attribute):
        raise ConvcraftError(
            f"{command}: the argument must have the form MODULE:FACTORY, got {factory!r}; "
            "for example mypackage.models:small or model.py:build"
        )
    path = Path(name) if name.endswith(".py") else None
    if path is not None and not path.is_file():
        raise ConvcraftError(f"{command}: MODULE must be a file that exists, got {name}; check the path")
    sys.path.insert(0, "" if path is None else str(path.parent))
    try:
        if path is None:
            module = importlib.import_module(name)
        else:
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise ConvcraftError(
            f"{command}: MODULE must be importable, got {name!r} ({error}); run from the folder that holds "
            "it, or pass the path of a .py file"
        ) from error
    except Exception as error:  # the user's own code runs here
        _show(error)
        raise ConvcraftError(
            f"{command}: MODULE must run when it is imported, {name} raised {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.pop(0)
    if not hasattr(module, attribute):
        raise unknown(f"name in {name}", attribute, [n for n in vars(module) if not n.startswith("_")])
    return getattr(module, attribute)


def call(command: str, factory: str, function: Callable[[], Any]) -> Any:
    """What the user's function returns; where it fails, its own traceback is shown."""
    try:
        return function()
    except Exception as error:
        _show(error)
        raise ConvcraftError(
            f"{command}: FACTORY must work without arguments, {factory} raised {type(error).__name__}: {error}"
        ) from error


def _show(error: Exception) -> None:
    """Print where the user's code failed, without the frames of this module."""
    frames = error.__traceback__
    while frames is not None and ((file := frames.tb_frame.f_code.co_filename) == __file__ or "importlib" in file):
        frames = frames.tb_next
    if frames is not None:
        traceback.print_exception(error.with_traceback(frames))
