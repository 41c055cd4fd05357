"""Illnesses of gradients and steps."""

from torch import nn

from convcraft.lab.clinic.cases import Case, Hidden, by_name, case, conv_net, he_, images, mlp, vectors


def update_too_large(ill: bool) -> Case:
    """A learning rate of 30; the twin's is 0.05."""
    return case(he_(mlp(2, nn.ReLU)), vectors(), 30.0 if ill else 0.05)


def update_too_small(ill: bool) -> Case:
    """A learning rate of 1e-7; the twin's is 0.05."""
    return case(he_(mlp(2, nn.ReLU)), vectors(), 1e-7 if ill else 0.05)


def decayed_biases_and_norms(ill: bool) -> Case:
    """One parameter group with weight decay; the twin decays the weights only."""
    model = conv_net()
    if ill:
        return case(model, images(), weight_decay=1e-3)
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": 1e-3}, {"params": others, "weight_decay": 0.0}]
    return case(model, images(), parameters=groups)


def no_gradient(ill: bool) -> Case:
    """A detach() in the middle of forward; the twin has none."""
    return case(he_(Hidden(lambda x, training: x.detach() if ill else x)), vectors())


def not_optimized(ill: bool) -> Case:
    """The optimizer holds the last layer only; the twin's holds everything."""
    model = he_(mlp(1, nn.ReLU))
    return case(model, vectors(), parameters=model[-1].parameters() if ill else None)


def step_raises_loss(ill: bool) -> Case:
    """The optimizer maximizes; the twin's minimizes."""
    made = case(he_(mlp(1, nn.ReLU)), vectors())
    made.optimizer.param_groups[0]["maximize"] = ill
    return made


CASES = by_name(
    update_too_large, update_too_small, decayed_biases_and_norms, no_gradient, not_optimized,
    step_raises_loss,
)  # fmt: skip
