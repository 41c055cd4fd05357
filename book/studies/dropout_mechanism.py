"""Dropout: an ensemble, less co-adaptation, less capacity?

One perceptron with two hidden layers of 64 ReLU units, trained on digits for 3,000 updates.

Varied: keep probability after both hidden layers (1, 0.9, 0.8, 0.5, 0.1); number of training images (300,
1000; a subset of its own for every seed); the classic form, which does not divide in training and multiplies
by the keep probability at test time; 500 images with random labels.

Measured, with dropout off unless said: accuracy and loss on train, validation and test, and
- ensemble: accuracy, loss and expected calibration error (ece) of the average over 1, 10 and 100 masks and
  over five independent nets of the arm; the share of test images on which two masks, or two nets, disagree;
- co-adaptation: test accuracy after deleting 10, 30, 50, 70 % of the units of both hidden layers (zeroed, the
  others scaled up; mean over ten draws), mean |correlation| of two units of the first hidden layer, and its
  effective rank (exponential of the entropy of its singular values);
- independence: test accuracy of a least-squares classifier on one and on eight units of the first layer, mean
  |correlation| of two units' gradients over the training images, with dropout off and on, and the same after
  shuffling every unit's gradients on their own, which is what independent units would show;
- capacity: input_gradient, the mean length of the gradient of an example's loss by the image, and the train
  accuracy on random labels (whose rate is tuned for it);
- test scaling: accuracy and loss with the hidden activations multiplied by 1, the keep and the drop
  probability.

Reduced: five nets instead of more. All arms with true labels and keep >= 0.5 fit the training images, so they are
matched in training accuracy.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from convcraft.dropout import dropout
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.randomness import forked
from convcraft.lab.statistics import expected_calibration_error, perfect_calibration_error
from convcraft.lab.training import evaluate, seeded

BATCH, UPDATES, WIDTH, MASKS, MEMBERS = 32, 3000, 64, 100, 5

BUDGET = {"updates": UPDATES, "evaluate_at": range(150, UPDATES + 1, 150), "batch_size": BATCH}


class Drop(nn.Module):
    """Dropout that can be classic, be on in evaluation, and scale at test time."""

    def __init__(self, keep: float, classic: bool = False) -> None:
        super().__init__()
        self.keep, self.classic, self.always = keep, classic, False
        self.test_factor = keep if classic else 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.always:
            return dropout(x, 1 - self.keep) * (self.keep if self.classic else 1.0)
        return x * self.test_factor


def model(arm: dict) -> nn.Sequential:
    def hidden() -> list[nn.Module]:
        return [nn.Linear(64, WIDTH), nn.ReLU(), Drop(arm["keep"], arm.get("classic", False))]

    return nn.Sequential(nn.Flatten(), *hidden(), *hidden(), nn.Linear(WIDTH, 10))


def drops(net: nn.Module) -> list[Drop]:
    return [layer for layer in net.modules() if isinstance(layer, Drop)]


def drawn(arm: dict, seed: int, splits: data.Splits) -> data.Splits:
    """The training images of this seed, with random labels where the arm asks for them; no test part."""
    train = splits.train.subset(arm["n"], seed)
    if arm.get("labels") == "random":
        generator = torch.Generator().manual_seed(seed)
        train = data.Split(train.x, torch.randint(10, train.y.shape, generator=generator))
    return data.Splits(train, splits.validation, splits.validation, splits.name, splits.classes)  # no test part


def trained(arm: dict, rate: float, seed: int, splits: data.Splits) -> nn.Module:
    net = seeded(lambda: model(arm), seed)
    train_and_score(net, splits, seed=seed, final=False, learning_rate=rate, **BUDGET)
    return net


def probabilities(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net(x).softmax(1)


def scores(name: str, p: Tensor, y: Tensor) -> dict[str, float]:
    loss = -p[torch.arange(len(y)), y].clamp_min(1e-12).log().mean()
    error = expected_calibration_error(p.numpy(), y.numpy())
    return {
        f"{name}_accuracy": float((p.argmax(1) == y).float().mean()),
        f"{name}_loss": float(loss),
        f"{name}_ece": float(error),
        f"{name}_ece_if_calibrated": perfect_calibration_error(p.numpy(), draws=50).mean,
    }


def disagreement(members: list[Tensor]) -> float:
    labels = [p.argmax(1) for p in members]
    pairs = [(a != b).float().mean() for i, a in enumerate(labels) for b in labels[:i]]
    return float(torch.stack(pairs).mean())


def ensembles(
    net: nn.Module, arm: dict, rate: float, seed: int, parts: data.Splits, test: data.Split
) -> dict:
    """One net, the average over masks, and the average over five independent nets."""
    x, y = test.x, test.y
    single = scores("single", probabilities(net, x), y)
    found = {name: value for name, value in single.items() if "ece" in name}
    others = [trained(arm, rate, 1000 + MEMBERS * seed + k, parts) for k in range(1, MEMBERS)]
    members = [probabilities(each, x) for each in (net, *others)]
    found |= scores("nets5", torch.stack(members).mean(0), y) | {"nets_disagree": disagreement(members)}
    if arm["keep"] == 1:
        return found
    for layer in drops(net):
        layer.always = True
    masks = [probabilities(net, x) for _ in range(MASKS)]
    for layer in drops(net):
        layer.always = False
    for count in (1, 10, MASKS):
        found |= scores(f"masks{count}", torch.stack(masks[:count]).mean(0), y)
    return found | {"masks_disagree": disagreement(masks[:MEMBERS])}


def correlation(rows: Tensor) -> float:
    """Mean |correlation| of two columns, over the columns that vary."""
    rows = rows[:, rows.std(0) > 1e-12].double()
    matrix = torch.corrcoef(rows.T).abs()
    k = len(matrix)
    return float((matrix.sum() - k) / (k * (k - 1)))


def deleted(net: nn.Module, part: data.Split, share: float, draws: int = 10) -> float:
    """Test accuracy without a share of the units of both hidden layers, the others scaled up."""
    right = []
    for _ in range(draws):
        h = part.x
        with torch.no_grad():
            for layer in net:
                h = layer(h)
                if isinstance(layer, nn.ReLU):
                    width = h.shape[1]
                    kept = torch.zeros(width)
                    kept[torch.randperm(width)[round(share * width) :]] = width / (
                        width - round(share * width)
                    )
                    h = h * kept
        right.append((h.argmax(1) == part.y).float().mean())
    return float(torch.stack(right).mean())


def probe(hidden: Tensor, train: data.Split, test_hidden: Tensor, test: data.Split, units: int) -> float:
    """Mean test accuracy of least-squares classifiers on random groups of units of the first hidden layer."""
    targets, right = one_hot(train.y, 10).double(), []
    for _ in range(16):
        rows = torch.randperm(hidden.shape[1])[:units]
        fitted, tested = (
            torch.cat([h[:, rows], torch.ones(len(h), 1)], 1).double() for h in (hidden, test_hidden)
        )
        eye = 1e-3 * torch.eye(units + 1, dtype=torch.float64)
        weights = torch.linalg.solve(fitted.T @ fitted + eye, fitted.T @ targets)
        right.append(((tested @ weights).argmax(1) == test.y).double().mean())
    return float(torch.stack(right).mean())


def unit_gradients(net: nn.Module, part: data.Split) -> Tensor:
    """Gradient of each example's loss by its inputs to the first hidden layer's activations: (n, width)."""
    z = net[1](net[0](part.x)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(net[2:](z), part.y, reduction="sum"), z)
    return gradient


def coadaptation(net: nn.Module, train: data.Split, test: data.Split) -> dict[str, float]:
    found = {f"deleted_{round(100 * s)}": deleted(net, test, s) for s in (0.1, 0.3, 0.5, 0.7)}
    with torch.no_grad():
        hidden, test_hidden = net[:3](train.x), net[:3](test.x)
    values = torch.linalg.svdvals((test_hidden - test_hidden.mean(0)).double())
    share = (values / values.sum()).clamp_min(1e-300)
    found |= {
        "unit_correlation": correlation(test_hidden),
        "effective_rank": float((-(share * share.log()).sum()).exp()),
    }
    found |= {f"probe_{k}": probe(hidden, train, test_hidden, test, k) for k in (1, 8)}
    gradient = unit_gradients(net, train)
    shuffled = torch.stack([column[torch.randperm(len(column))] for column in gradient.T], 1)
    found |= {
        "gradient_correlation": correlation(gradient),
        "gradient_correlation_null": correlation(shuffled),
    }
    found["gradient_correlation_training"] = correlation(unit_gradients(net.train(), train))
    net.eval()
    return found


def test_factors(net: nn.Module, keep: float, test: data.Split) -> dict[str, float]:
    """What the article's rescaling at test time does."""
    found, before = {}, [layer.test_factor for layer in drops(net)]
    for name, factor in (("1", 1.0), ("keep", keep), ("drop", 1 - keep)):
        for layer in drops(net):
            layer.test_factor = factor
        result = evaluate(net, test)
        found |= {f"times_{name}_accuracy": result.accuracy, f"times_{name}_loss": result.loss}
    for layer, factor in zip(drops(net), before, strict=True):
        layer.test_factor = factor
    return found


def input_gradient(net: nn.Module, part: data.Split) -> float:
    x = part.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(net(x), part.y, reduction="sum"), x)
    return float(gradient.flatten(1).norm(dim=1).mean())


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one net; in the final phase measure everything that the arm asks for."""
    parts = drawn(arm, seed, splits)
    whole = replace(splits, train=parts.train)
    net = seeded(lambda: model(arm), seed)
    found = train_and_score(net, whole, seed=seed, final=final, learning_rate=rate, **BUDGET)
    fitted = evaluate(net, parts.train)
    found["score"] = fitted.accuracy if arm["look"] == "capacity" else found["validation_accuracy"]
    if not final:
        return found
    found |= {"final_train_loss": fitted.loss, "gap": fitted.accuracy - found["test_accuracy"]}
    found["input_gradient"] = input_gradient(net, splits.test)
    with forked(seed):
        if arm["look"] == "all":
            found |= ensembles(net, arm, rate, seed, parts, splits.test)
            found |= coadaptation(net, parts.train, splits.test)
        if arm["look"] != "capacity":
            found |= test_factors(net, arm["keep"], splits.test)
    return found


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


SOME = ("1", "0.8", "0.5")
ARMS = {f"n{n}_k{k}": {"n": n, "keep": float(k), "look": "all"} for n in (300, 1000) for k in SOME}
ARMS |= {f"n1000_k{k}": {"n": 1000, "keep": float(k), "look": "scaling"} for k in ("0.9", "0.1")}
ARMS |= {"classic_k0.8": {"n": 1000, "keep": 0.8, "classic": True, "look": "scaling"}}
ARMS |= {
    f"random_labels_k{k}": {"n": 500, "keep": float(k), "labels": "random", "look": "capacity"} for k in SOME
}
MEASURES = {
    "dropout-reduces-co-adaptation": (
        "deleted_10",
        "deleted_30",
        "deleted_50",
        "deleted_70",
        "unit_correlation",
        "effective_rank",
    ),
    "dropout-lets-each-neuron-learn-independently": ("probe_1", "probe_8", "gradient_correlation"),
    "dropout-reduces-network-complexity": ("input_gradient",),
    "dropout-acts-like-a-model-ensemble": ("test_accuracy", "test_loss"),
}
BY_KEEP = tuple(
    Contrast(f"n{n}_k{k}", f"n{n}_k1", measure=measure, claim=claim, family=claim)
    for claim, measures in MEASURES.items()
    for measure in measures
    for n in (300, 1000)
    for k in SOME[1:]
)
CAPACITY = tuple(
    Contrast(
        f"random_labels_k{k}",
        "random_labels_k1",
        measure="train_accuracy",
        claim="dropout-reduces-network-complexity",
        family="random labels",
    )
    for k in SOME[1:]
)

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.012, 0.05, 0.2),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    splits=splits,
    run=run,
    select=("score", "max"),
    contrasts=(
        *BY_KEEP,
        *CAPACITY,
        Contrast(
            "n1000_k0.1", "n1000_k0.9", claim="dropout-rate-is-the-keep-probability", family="convention"
        ),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.05,)},
)
