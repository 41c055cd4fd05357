"""The bench of dropout and normalization on tiny sizes: its candidates are right. No test looks at a time."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks import layers, textbook
from convcraft import ConvcraftError


def test_every_pair_is_measured_in_both_directions():
    pairs = {**layers.dropouts(), **layers.normalizations(4)}
    found = layers.measure(pairs, (4, 4, 8, 8), "channels_last", 5)
    assert [r.case for r in found[::2]] == list(pairs)
    assert {r.what for r in found} == {"forward", "forward+backward"}
    assert all(len(r.ratios) == 5 and r.saved is not None for r in found)
    with_book = {r.case for r in found if len(r.rivals.get("textbook", ())) == 5}
    assert with_book == {"dropout 0.5", "dropout 0.2", "dropout 0.1", *layers.normalizations(4)}


@pytest.mark.parametrize(
    "form",
    [
        lambda x: textbook.dropout(x, 0.2),
        lambda x: layers.plain_drop_path(x, 0.2),
        lambda x: layers.plain_drop_block(x, 0.2, 3),
    ],
    ids=["dropout", "drop_path", "drop_block"],
)
def test_the_forms_of_the_papers_keep_the_mean_and_drop(form):
    x = torch.ones(512, 4, 12, 12)
    y = form(x)
    assert abs(float(y.mean()) - 1) < 0.12 and 0.12 < float((y == 0).float().mean()) < 0.28


def test_what_does_not_agree_is_refused():
    wrong = {"batch_norm": {"ours": torch.relu, "base": torch.tanh}}
    with pytest.raises(ConvcraftError, match="bench: batch_norm must agree with what it is measured against"):
        layers.measure(wrong, (2, 4, 8, 8), "contiguous", 5)
    shifted = {"dropout": {"ours": lambda x: 1.1 * F.dropout(x, 0.1), "base": lambda x: F.dropout(x, 0.1)}}
    with pytest.raises(ConvcraftError, match="bench: dropout must agree"):
        layers.measure(shifted, (64, 4, 8, 8), "contiguous", 5)


def test_a_wrong_textbook_formula_is_refused_too(monkeypatch):
    monkeypatch.setattr(textbook, "layer_norm", lambda x: x)
    with pytest.raises(ConvcraftError, match="bench: layer_norm must agree"):
        layers.measure({"layer_norm": layers.normalizations(4)["layer_norm"]}, (2, 4, 8, 8), "contiguous", 5)
