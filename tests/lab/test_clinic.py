"""The clinic: every sick network has its finding, no healthy twin is accused."""

import inspect

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft.diagnostics import diagnose
from convcraft.diagnostics.finding import SEVERITIES
from convcraft.diagnostics.findings import KINDS, find_all, names
from convcraft.lab import clinic
from convcraft.lab.clinic import cases


def test_there_is_a_sick_network_for_every_kind_of_finding():
    assert sorted(clinic.names()) == sorted(names())


@pytest.mark.parametrize("name", clinic.names())
def test_a_sick_network_is_diagnosed_with_its_finding(name):
    report = diagnose(*clinic.sick(name))
    (finding, *_) = [f for f in report.findings if f.name == name]
    assert finding.severity in SEVERITIES and len(finding.message) > 20
    assert finding.why == KINDS[name].why and finding.remedy and finding.chapter == KINDS[name].chapter


@pytest.mark.parametrize("name", clinic.names())
def test_a_healthy_twin_is_accused_of_nothing(name):
    report = diagnose(*clinic.healthy(name))
    assert report.healthy and name not in report, report


def test_a_case_is_a_function_of_its_seed_and_touches_no_random_state():
    for name in clinic.names():
        state = torch.get_rng_state()
        first, second, other = (clinic.sick(name, seed=seed) for seed in (3, 3, 4))
        assert torch.equal(torch.get_rng_state(), state)
        triples = zip(*(case.model.parameters() for case in (first, second, other)), strict=True)
        same = [(torch.equal(a, b), torch.equal(a, c)) for a, b, c in triples]
        assert all(equal for equal, _ in same) and not all(equal for _, equal in same), name


def test_what_ails_each_is_told():
    for name in clinic.names():
        assert "twin" in clinic.describe(name) and clinic.describe(name).endswith(".")


@pytest.mark.parametrize("call", [clinic.sick, clinic.healthy, clinic.describe])
def test_an_unknown_illness_names_the_near_ones(call):
    with pytest.raises(ConvcraftError, match="unknown illness 'dead-unit': did you mean 'dead-units'"):
        call("dead-unit")
    if call is not clinic.describe:
        with pytest.raises(ConvcraftError, match="seed must be a whole number of at least 0"):
            call("dead-units", seed=-1)


def test_the_severe_findings_come_first():
    report = diagnose(*clinic.sick("dead-units"))
    ranks = [finding.rank for finding in report.findings]
    assert ranks == sorted(ranks) and report.findings[0].severity == "severe" and not report.healthy


def test_he_initialization_of_the_cases_is_that_of_torch_in_scale():
    model = cases.he_(cases.mlp(1, nn.ReLU, features=500, width=400))
    assert float(model[0].weight.detach().std()) == pytest.approx((2 / 500) ** 0.5, rel=0.02)
    assert not model[0].bias.any()
    assert inspect.getdoc(find_all) is not None
