"""The two proofs of independence: of the processor, and of the order of the tests."""

import importlib.util
import pathlib
from types import SimpleNamespace

import nbformat

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"


def tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook(*outputs, tags=("nbval-check-output",)):
    cell = nbformat.v4.new_code_cell("print(x)", outputs=list(outputs), metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Text."), cell])


def stream(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def test_compared_text_and_errors_count_and_nothing_else(capsys):
    report = tool("compare_kernels").report
    stored, error = notebook(stream("28 %\n")), nbformat.v4.new_output("error", ename="E", evalue="v")
    assert (
        report(stored, notebook(stream("28 "), stream("%\n")), False) == 0
    )  # where a stream splits is chance
    assert report(notebook(stream("in 3.1 s")), notebook(stream("in 2.9 s")), False) == 0  # sanitized
    assert report(notebook(stream("a"), tags=()), notebook(stream("b"), tags=()), True) == 0
    assert "cell 0 differs" in capsys.readouterr().out
    assert report(stored, notebook(stream("30 %\n")), False) == 1
    assert "cell 0 COMPARED" in (shown := capsys.readouterr().out) and "-28 %" in shown and "+30 %" in shown
    assert report(notebook(tags=()), notebook(error, tags=()), False) == 1
    meant = ("raises-exception",)
    assert report(notebook(error, tags=meant), notebook(error, tags=meant), False) == 0


def test_shuffling_keeps_every_test_and_the_tests_of_a_file_together():
    items = [SimpleNamespace(path=f"file{i // 10}", name=i) for i in range(60)]
    orders = []
    for seed in (0, 0, 1):
        drawn = list(items)
        tool("shuffle_tests").Shuffle(seed).pytest_collection_modifyitems(drawn)
        orders.append([item.name for item in drawn])
    assert orders[0] == orders[1] != orders[2] and sorted(orders[2]) == list(range(60))
    files = [name // 10 for name in orders[0]]
    assert sum(a != b for a, b in zip(files, files[1:], strict=False)) == 5
