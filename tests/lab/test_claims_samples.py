"""The record of the articles' code samples, as a chapter shows it."""

from __future__ import annotations

import pytest

from convcraft import ConvcraftError
from convcraft.lab import claims


def test_samples_are_found_and_shown(tmp_path):
    known = claims.samples()
    assert len(known) == 22
    sample = claims.sample("code-a1-relu-numpy")
    assert sample.outcome == "ran" and sample.passed and sample.lines_restored and not sample.warnings
    assert "torch" in sample.versions and sample.headline == "ran"
    broken = claims.sample("code-a4-l2loss-and-dropout")
    assert broken.headline.startswith("AttributeError: ") and broken.claim == "code-a4-l2loss-and-dropout"
    assert "✓" in repr(broken) and broken._repr_html_().count("✓") == len(broken.checks)
    with pytest.raises(
        ConvcraftError, match="unknown code sample 'code-a1-relu-nump': did you mean 'code-a1-relu-numpy'"
    ):
        claims.sample("code-a1-relu-nump")
    with pytest.raises(ConvcraftError, match="expected the record of the code samples, got none"):
        claims.samples(tmp_path / "none.json")


def test_a_sample_that_failed_a_check_shows_it():
    record = dict(claims.sample("code-a4-keras-cnn").record)
    record["checks"] = [{"name": "a < b", "value": 0.123456, "passed": False}]
    sample = claims.Sample(record)
    assert not sample.passed and "✗ a < b  0.1235" in repr(sample) and "a &lt; b" in sample._repr_html_()
    assert "UserWarning" in repr(sample) and "UserWarning" in sample._repr_html_()
