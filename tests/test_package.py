"""The package as a whole: what importing it loads, one-way imports, docstrings, one place of the version."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import convcraft
from convcraft import ConvcraftError, errors

ROOT = Path(convcraft.__file__).parent
LIBRARY = sorted(
    path
    for path in ROOT.rglob("*.py")
    if "lab" not in path.relative_to(ROOT).parts and path.name != "__main__.py"
)
DOCUMENTED = (
    "convcraft.activations",
    "convcraft.augmentation",
    "convcraft.dropout",
    "convcraft.initialization",
    "convcraft.learning_rates",
    "convcraft.normalization",
    "convcraft.penalties",
)
PUBLIC = [
    (module, name)
    for module in (*DOCUMENTED, "convcraft.reference")
    for name in importlib.import_module(module).__all__
    if callable(getattr(importlib.import_module(module), name))
]


def imported(path):
    """(line, full name) of everything that a file imports, relative names resolved."""
    package = ("convcraft", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def run(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_import_loads_nothing_but_torch_numpy_and_the_standard_library():
    code = (
        "import sys, torch, numpy; before = {n.partition('.')[0] for n in sys.modules}\n"
        "import convcraft, convcraft.activations, convcraft.reference\n"
        "import convcraft.augmentation, convcraft.dropout, convcraft.normalization\n"
        "import convcraft.learning_rates, convcraft.initialization, convcraft.penalties\n"
        "after = {n.partition('.')[0] for n in sys.modules} - before - set(sys.stdlib_module_names)\n"
        "print(sorted(after), 'convcraft.lab' in sys.modules, 'matplotlib' in sys.modules)"
    )
    assert run(code).strip() == "['convcraft'] False False"


def test_parts_are_reached_as_attributes():
    assert (
        run(
            "import convcraft; print(convcraft.reference.relu(-1.0), sorted(convcraft.__dir__())[-1])"
        ).split()[0]
        == "0.0"
    )
    with pytest.raises(AttributeError, match="its parts are activations"):
        _ = convcraft.nonsense


def test_no_part_of_the_library_imports_the_lab():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in LIBRARY
        for line, name in imported(path)
        if name.startswith("convcraft.lab") and not within_type_checking(path, line)
    ]
    assert not wrong


def within_type_checking(path, line):
    """Whether a line stands under `if TYPE_CHECKING:`, which never runs."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.lineno <= line <= (node.end_lineno or node.lineno)
    return False


def test_the_search_for_imports_sees_relative_ones():
    names = {name for _, name in imported(ROOT / "activations" / "__init__.py")}
    assert "convcraft.activations.catalog.catalog" in names
    names = {name for _, name in imported(ROOT / "activations" / "rectifiers.py")}
    assert "convcraft.errors.ConvcraftError" in names


def test_the_activations_module_imports_torch_and_numpy_only():
    allowed = {"torch", "numpy", "convcraft", *sys.stdlib_module_names}
    for folder in ("activations", "reference"):
        for path in (ROOT / folder).glob("*.py"):
            assert {name.partition(".")[0] for _, name in imported(path)} <= allowed, path.name


def test_every_public_name_is_documented():
    for module, name in PUBLIC:
        thing = getattr(importlib.import_module(module), name)
        text = inspect.getdoc(thing) or ""
        assert len(text) >= 10 and text.split("\n")[0].endswith((".", ")")), (module, name)
        if module in DOCUMENTED and name[0].islower():
            for part in ("Formula", ">>>", "Chapter"):
                # a report on another function points to it
                assert part in text or (part == "Formula" and ":func:" in text), (module, name, part)
        if module in DOCUMENTED and inspect.isclass(thing) and issubclass(thing, torch.nn.Module):
            # what a function says is not said again
            complete = all(part in text for part in ("Formula", ">>>", "Chapter"))
            assert complete or ":func:" in text, (module, name)


def test_every_public_function_has_type_hints():
    for module, name in PUBLIC:
        thing = getattr(importlib.import_module(module), name)
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not inspect.Signature.empty, (module, name)
            for parameter in signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, (module, name, parameter)


def test_the_version_stands_in_one_place():
    pyproject = ROOT.parent.parent / "pyproject.toml"
    assert convcraft.__version__.count(".") == 2
    if pyproject.exists():
        text = pyproject.read_text(encoding="utf-8")
        assert 'dynamic = ["version"]' in text and f'"{convcraft.__version__}"' not in text


def test_typed_marker_is_shipped():
    assert (ROOT / "py.typed").exists()


def test_error_class_and_near_matches():
    assert issubclass(ConvcraftError, ValueError)
    error = errors.unknown("data set", "digist", ["digits", "fashion-mnist"])
    assert isinstance(error, ConvcraftError)
    assert str(error) == "unknown data set 'digist': did you mean 'digits'? Known: digits, fashion-mnist"
    assert "did you mean" not in str(errors.unknown("data set", "xyz", ["digits"]))
    assert "'ReLU'" in str(errors.unknown("activation", "RELU", ["ReLU"]))


def test_calling_the_library_leaves_global_state_alone():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    convcraft.activations.catalog()["mish"].moments  # noqa: B018
    convcraft.activations.mish(torch.ones(1 << 17))
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def raises(path):
    """Lines of the `raise` statements of a file, without re-raising."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]


FOLDERS = (
    "_trace activations augmentation dropout initialization learning_rates normalization penalties reference"
)


@pytest.mark.parametrize("folder", FOLDERS.split())
def test_every_raise_of_these_folders_is_reached_by_a_test(folder):
    """Runs the lists of misuse of the test files with a tracer, and demands that they reach every `raise`."""
    here = Path(__file__).parent
    files = {
        "activations": ["test_activations_modules.py", "test_activations_catalog.py"],
        "augmentation": [
            "test_augmentation.py",
            "test_augmentation_random.py",
            "test_augmentation_mixing.py",
            "test_augmentation_dense.py",
        ],
        "_trace": ["test_trace.py"],
        "dropout": ["test_dropout.py"],
        "initialization": ["test_initialization.py", "test_initialization_models.py"],
        "penalties": ["test_penalties.py", "test_penalties_optimizer.py"],
        "learning_rates": ["test_learning_rates.py"],
        "normalization": ["test_normalization.py", "test_normalization_models.py"],
        "reference": ["test_reference.py"],
    }[folder]
    wanted = {(str(path), line) for path in (ROOT / folder).glob("*.py") for line in raises(path)}
    reached, held = set(), {}  # code -> the lines that are wanted of it

    def trace(frame, event, argument):
        code = frame.f_code
        if code not in held:
            held[code] = wanted & {(code.co_filename, line) for *_, line in code.co_lines()}
        if event == "line":
            reached.add((code.co_filename, frame.f_lineno))
        return trace if held[code] - reached else None

    for file in files:
        spec = importlib.util.spec_from_file_location(f"misuse_{file[:-3]}", here / file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            for call, _ in module.ERRORS:
                with pytest.raises(ConvcraftError):
                    call()
        finally:
            sys.settrace(previous)
    assert wanted and sorted(wanted - reached) == []
