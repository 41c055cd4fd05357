"""The files of studies: where they are, what they hold, and their version."""

import ast
import hashlib
import linecache
import sys
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.experiments.study import Study

#: arguments of Study that change no number of a run
_NOT_IN_VERSION = ("contrasts", "quick", "short", "trains")


def studies_folder(folder: str | Path | None = None) -> Path:
    """The folder of the studies: the one given, else book/studies or studies here or in a folder above.

    Raises ConvcraftError if there is none.
    """
    if folder is not None:
        if Path(folder).is_dir():
            return Path(folder)
        raise ConvcraftError(f"folder must be a folder of studies; there is none at {folder}. Check it.")
    here = Path.cwd()
    for parent in (here, *here.parents):
        for candidate in (parent / "book" / "studies", parent / "studies"):
            if candidate.is_dir():
                return candidate
    raise ConvcraftError(
        "no folder of studies: expected book/studies or studies here or in a folder above; got none. Change "
        "to the folder of the book, or pass folder=."
    )


def results_folder(folder: str | Path | None = None) -> Path:
    """The folder of the results, beside that of the studies."""
    return studies_folder(folder).resolve().parent / "results"


def is_file(name: str | Path) -> bool:
    """Whether a study is given by the path of its file rather than by its name."""
    return Path(name).suffix == ".py"


def place(name: str | Path, folder: str | Path | None = None) -> tuple[Path, Path]:
    """The file of a study and that of its result: beside it where the study is given by its path."""
    if is_file(name):
        path = Path(name).resolve()
        return path, path.with_suffix(".json")
    return studies_folder(folder) / f"{name}.py", results_folder(folder) / f"{name}.json"


def names(folder: str | Path | None = None) -> list[str]:
    """Names of the studies, the files that define STUDY."""
    found = sorted(studies_folder(folder).glob("*.py"))
    return [path.stem for path in found if _defines_study(path.read_text(encoding="utf-8"))]


def _defines_study(source: str) -> bool:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return True  # so that it is listed, and reported when it is loaded
    targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == "STUDY" for target in targets)


def load_study(name: str | Path, folder: str | Path | None = None) -> Study:
    """The study with this name, or in the .py file at this path; nothing is trained.

    Raises ConvcraftError for an unknown name, and for a file that does not define a study.
    """
    path, _ = place(name, folder)
    if not path.is_file():
        if is_file(name):
            raise ConvcraftError(f"no study at {name}; expected a file that defines STUDY.")
        raise unknown("study", str(name), names(folder))
    source = path.read_text(encoding="utf-8")
    if not _defines_study(source):
        raise ConvcraftError(
            f"{path.name} must define STUDY = Study(...); it does not. Run a program of your own with python."
        )
    return compiled(path.stem, source)


@lru_cache(maxsize=256)
def compiled(name: str, source: str) -> Study:
    """The STUDY of a source text, executed once per process; raises ConvcraftError if it defines none."""
    module = types.ModuleType(f"convcraft_study_{name}")
    module.__file__ = file = f"{name}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    except ConvcraftError as error:
        raise ConvcraftError(f"study {name}: {error}") from error
    except Exception as error:
        advice = "pip install 'convcraft[plot,data]'" if isinstance(error, ModuleNotFoundError) else "Fix the file."
        raise ConvcraftError(
            f"{file} must be importable, without training anything; got {type(error).__name__}: {error}. {advice}"
        ) from error
    study: Any = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise ConvcraftError(f"{file} must define STUDY = Study(...); got {study!r}. Define it there.")
    text = (module.__doc__ or name).strip().splitlines()
    study.identify(name, text[0] if text else name, source)
    return study


def version(source: str) -> str:
    """SHA-256 of what decides the numbers of a study: its syntax tree.

    Comments, docstrings and layout are not in it, nor are the contrasts and what `--quick` replaces, with the
    names that only they use. Chapter: Activations.

    >>> version("x = 1  # one") == version("x = 1") != version("x = 2")
    True
    """
    tree = ast.parse(source)
    _drop_docstrings(tree)
    used = _drop_arguments(tree)
    while unused := used - _loaded(tree):
        before = len(tree.body)
        tree.body = [node for node in tree.body if not _only_defines(node, unused, used)]
        if len(tree.body) == before:
            break
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names = [alias for alias in node.names if alias.name != "Contrast"]
    return hashlib.sha256(_canonical(tree).encode()).hexdigest()


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]


def _drop_arguments(tree: ast.Module) -> set[str]:
    """Remove contrasts= and quick= from the call of Study; return the names that they use."""
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Study":
            for keyword in node.keywords:
                if keyword.arg in _NOT_IN_VERSION:
                    used |= _loaded(keyword.value)
            node.keywords = [k for k in node.keywords if k.arg not in _NOT_IN_VERSION]
    return used


def _loaded(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _only_defines(node: ast.stmt, unused: set[str], used: set[str]) -> bool:
    """Whether a statement only defines names that nothing uses any more; then `used` gets what it uses."""
    if isinstance(node, ast.Assign):
        targets: list[Any] = [getattr(target, "id", None) for target in node.targets]
    elif isinstance(node, ast.AnnAssign):
        targets = [getattr(node.target, "id", None)]
    elif isinstance(node, ast.FunctionDef):
        targets = [node.name]
    else:
        return False
    if not all(target in unused for target in targets):
        return False
    used |= _loaded(node)
    return True


def _canonical(node: Any) -> str:
    """The tree as text that is the same in all versions of Python: empty fields are left out."""
    if isinstance(node, ast.JoinedStr):  # Python 3.12 puts empty strings into it
        node.values = [part for part in node.values if getattr(part, "value", None) != ""]
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("kind", "ctx"))
        parts = [f"{name}={_canonical(value)}" for name, value in fields if value is not None and value != []]
        if isinstance(node, ast.Constant):
            parts = [f"{type(node.value).__name__} {node.value!r}"]
        return f"{type(node).__name__}({', '.join(parts)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_canonical, node))}]"
    return repr(node)
