"""The kinds of finding: why each matters, what to do, and the chapter that explains it."""

from __future__ import annotations

from dataclasses import dataclass

from ..finding import Finding

__all__ = ["KINDS", "Kind", "find", "names"]


@dataclass(frozen=True)
class Kind:
    """What is the same for every finding of one name."""

    why: str
    remedy: str
    chapter: str


KINDS: dict[str, Kind] = {
    "not-finite": Kind(
        "One NaN or infinity spreads to every weight in a single step.",
        "Look at this layer's input and formula (division, logarithm, root, exponential), lower the learning "
        "rate, clip the gradients, or keep this layer in float32 under autocast.",
        "Learning rates",
    ),
    "dead-units": Kind(
        "A unit that is zero on everything gets no gradient. In the first layer it stays so; behind it only "
        "a change of the layers before can wake it. Until then the layer is narrower than it looks.",
        "Set the biases to zero and use He initialization (convcraft.initialization.initialize), lower the "
        "learning rate, normalize before the activation, or use one with a slope on its negative side.",
        "Activations",
    ),
    "saturated-units": Kind(
        "Where an activation is flat its slope is near zero, and so is the gradient of everything before it.",
        "Scale the weights down (Xavier initialization), standardize the inputs, normalize before the "
        "activation, or use an activation without limits.",
        "Activations",
    ),
    "vanishing-gradient": Kind(
        "The first layers hardly learn while the last ones do.",
        "Match the initialization to the activation (convcraft.initialization.initialize), add normalization "
        "or residual connections, or use an activation whose slope does not shrink the gradient.",
        "Weight initialization",
    ),
    "exploding-gradient": Kind(
        "One step throws the first layers far from where they were.",
        "Scale the initialization down to match the activation, add normalization, or clip the gradients.",
        "Weight initialization",
    ),
    "gradient-vanishes-in-time": Kind(
        "What happened early in a sequence cannot be learned: its share in the gradient is lost on the way.",
        "Use an LSTM or a GRU with gates that start open (a forget bias of about log(T) for T steps), "
        "orthogonal recurrent weights, shorter sequences, or a read-out over all steps.",
        "Weight initialization",
    ),
    "saturated-attention": Kind(
        "A softmax that has already chosen passes next to no gradient to queries and keys.",
        "Divide the scores by the square root of the size of the keys, normalize before the layer, or scale "
        "the weights of queries and keys down.",
        "Activations",
    ),
    "activation-drift": Kind(
        "A spread that shrinks or grows from layer to layer takes the gradient with it, and the last "
        "layers see either nothing of the input or saturate.",
        "Initialize with the gain of the activation and zero biases, run a data-dependent initialization "
        "(convcraft.initialization.lsuv_), or add normalization.",
        "Weight initialization",
    ),
    "constant-weights": Kind(
        "Units with the same weights compute the same value and get the same gradient: they stay copies of "
        "one another, or get no gradient at all.",
        "Initialize the weights at random; zeros belong into biases and, at most, into the last layer of a "
        "residual branch or of the network.",
        "Weight initialization",
    ),
    "initialization-mismatch": Kind(
        "The variance of the weights does not fit the activation, so that the signal or its gradient shrinks "
        "or grows by the same factor in every layer.",
        "Use He initialization for ReLU and its kin, LeCun for SELU, Xavier for tanh, or the gain of the "
        "activation by quadrature; convcraft.initialization.initialize chooses.",
        "Weight initialization",
    ),
    "initial-loss": Kind(
        "The untrained model is confident and wrong: the first steps only shrink the last layer.",
        "Scale the last layer's weights down, set its bias to the logarithms of the class frequencies, and "
        "check that the inputs are standardized.",
        "Weight initialization",
    ),
    "softmax-before-cross-entropy": Kind(
        "Cross-entropy applies log-softmax itself. A second softmax bounds the logits to [0, 1], so that the "
        "loss cannot come near zero and its gradient is small.",
        "Return the logits; apply softmax where probabilities are shown.",
        "Combining",
    ),
    "broadcast-loss": Kind(
        "The loss is least where every output is the mean of all targets: the model learns to ignore "
        "its input.",
        "Give both one shape: output.squeeze(1), or target.unsqueeze(1).",
        "Combining",
    ),
    "output-range": Kind(
        "No training brings an output beyond the limits of its activation.",
        "End in a linear layer, or scale the targets into the range.",
        "Activations",
    ),
    "inputs-not-standardized": Kind(
        "Inputs far from mean 0 and variance 1 stretch the loss in some directions and not in others, and "
        "undo what the initialization arranges.",
        "Subtract the mean and divide by the standard deviation of the training set, per channel or feature.",
        "Weight initialization",
    ),
    "bias-before-normalization": Kind(
        "The normalization subtracts the mean and with it the bias, which gets no gradient and changes "
        "nothing.",
        "Create the layer with bias=False.",
        "Batch normalization",
    ),
    "dropout-before-batch-norm": Kind(
        "Dropout raises the variance in training and not in evaluation, so that the running variance is "
        "wrong in evaluation (Li, Chen, Hu and Yang, 2019).",
        "Put dropout behind the last batch normalization, or leave it out.",
        "Batch normalization",
    ),
    "batch-norm-small-batch": Kind(
        "Statistics of a few examples are noise, and the running averages that evaluation uses follow it.",
        "Use a larger batch, group or layer normalization, or synchronize the statistics between processes.",
        "Batch normalization",
    ),
    "batch-norm-eval-mode": Kind(
        "In eval mode the layer uses its running statistics and does not update them: training runs without "
        "normalization by the batch.",
        "Call model.train() before the training loop; to freeze the layer on purpose, set requires_grad to "
        "False on its parameters as well (convcraft.normalization.freeze_batch_norm).",
        "Batch normalization",
    ),
    "batch-norm-running-statistics": Kind(
        "Evaluation normalizes by the running statistics; where they are far from the data's, it computes "
        "something else than training did.",
        "Recalibrate them on training batches (convcraft.normalization.recalibrate_batch_norm), raise the "
        "momentum, and see that the evaluation data is prepared like the training data.",
        "Batch normalization",
    ),
    "decayed-biases-and-norms": Kind(
        "Decay pulls biases and scales to zero, where they do not belong, and regularizes nothing.",
        "Put them into a parameter group of their own with weight_decay=0: "
        "convcraft.penalties.decay_groups makes the two.",
        "L1 and L2 penalties",
    ),
    "update-too-large": Kind(
        "A step that replaces much of the weights forgets what they held.",
        "Lower the learning rate, warm it up, or clip the gradients.",
        "Learning rates",
    ),
    "update-too-small": Kind(
        "At this pace the weights need more than 100,000 steps to change by their own size.",
        "Raise the learning rate; a range test finds it.",
        "Learning rates",
    ),
    "step-raises-loss": Kind(
        "Training goes away from the minimum.",
        "Look for a minus sign before the loss, for maximize=True, and for a learning rate far above the "
        "edge of stability.",
        "Learning rates",
    ),
    "dead-branch": Kind(
        "Where a gate and the branch behind it are both zero, each keeps the gradient from the other: "
        "neither ever learns.",
        "Start one of the two at zero and the other at random, as convcraft.initialization.initialize does.",
        "Weight initialization",
    ),
    "no-gradient": Kind(
        "A parameter that gets no gradient is never trained.",
        "Look for detach(), no_grad(), .item() or .data on the way from the parameter to the loss, and for "
        "modules that forward does not use.",
        "Combining",
    ),
    "not-optimized": Kind(
        "A parameter that the optimizer does not hold is never trained.",
        "Create the optimizer from model.parameters() after the model is complete, or set requires_grad to "
        "False on what is meant to stay.",
        "Combining",
    ),
    "train-eval-mismatch": Kind(
        "Beyond dropout and batch normalization, training and evaluation should compute the same function; "
        "otherwise the evaluation is of another model.",
        "Look for code in forward that depends on self.training.",
        "Batch normalization",
    ),
    "random-evaluation": Kind(
        "In eval mode the same input should give the same output; a metric of a random output is random too.",
        "Pass training=self.training to functional dropout.",
        "Dropout",
    ),
}


def names() -> list[str]:
    """The names of all kinds of finding.

    >>> "dead-units" in names()
    True
    """
    return list(KINDS)


def find(name: str, severity: str, layer: str, message: str, **numbers: float) -> Finding:
    """A finding with the words that its kind always has."""
    kind = KINDS[name]
    plain = {key: float(value) for key, value in numbers.items()}
    return Finding(name, severity, layer, message, plain, kind.why, kind.remedy, kind.chapter)
