"""One rule for batches: every form reaches the model and the loss in every function that takes one."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from convcraft import ConvcraftError, _batch
from convcraft.diagnostics import diagnose
from convcraft.learning_rates import range_test, sharpness

A, B = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0)).unbind()
Y = torch.arange(12) % 2


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.left, self.out = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, a, b):
        return self.out(torch.tanh(self.left(a + b)))


class Whole(Two):
    """Takes the mapping as it is."""

    def forward(self, batch):
        return super().forward(batch["a"], batch["b"])


class Answer:
    def __init__(self, loss):
        self.loss = loss


class Own(Two):
    """Computes its loss itself and returns it in one of the usual forms."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, a, b, labels=None):
        logits = super().forward(a, b)
        return self.form(F.cross_entropy(logits, labels), logits) if labels is not None else logits


FORMS = [
    (A, B, Y),
    [A, B, Y],
    ((A, B), Y),
    [[A, B], Y],
    {"a": A, "b": B, "labels": Y},
    {"b": B, "a": A, "y": Y},
    ({"a": A, "b": B}, Y),
]
ANSWERS = [
    lambda loss, logits: loss,
    lambda loss, logits: {"loss": loss, "logits": logits},
    lambda loss, logits: Answer(loss),
    lambda loss, logits: (loss, logits),
]


def test_every_form_means_the_same_to_every_function():
    model = Two()
    expected = float(F.cross_entropy(model(A, B), Y).detach())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for form in FORMS:
        assert diagnose(model, form, "cross_entropy").loss == pytest.approx(expected)
        assert range_test(model, [form], optimizer, steps=3).losses[0] == pytest.approx(expected)
        assert sharpness(model, form, iterations=5) == sharpness(model, (A, B, Y), iterations=5)
        for taker in ("model", "nobody"):  # nobody needs the target
            assert torch.equal(_batch.split("f", form, model, taker)(model), model(A, B)), form
    loader = DataLoader(TensorDataset(A, B, Y), 6)
    assert range_test(model, loader, optimizer, "cross_entropy", steps=3).losses


def test_a_model_that_returns_its_loss():
    for form in ANSWERS:
        model = Own(form)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        expected = float(F.cross_entropy(Two()(A, B), Y).detach())
        for batch in ({"a": A, "b": B, "labels": Y}, (A, B, Y)):
            assert diagnose(model, batch).loss == pytest.approx(expected)
            assert range_test(model, [batch], optimizer, None, steps=3).losses[0] == pytest.approx(expected)
            assert sharpness(model, batch, None, iterations=2).iterations == 2
            assert isinstance(_batch.split("f", batch, model, "nobody")(model), torch.Tensor)


def test_what_forward_accepts_decides_what_is_spread():
    def args(item, model, taker="nobody"):
        batch = _batch.split("f", item, model, taker)
        return batch.args or tuple(batch.kwargs)

    line = nn.Linear(3, 2)
    assert args(A, line)[0] is A and args((A, Y), line)[0] is A and args([A], line)[0] is A
    assert args((A, Y, torch.arange(12)), line)[0] is A  # more than forward takes
    assert args({"image": A, "label": Y}, line, "loss")[0] is A  # one input, under a name of its own
    assert args({"a": A, "b": B, "y": Y}, Whole(), "loss")[0].keys() == {"a", "b"}
    assert args({"a": A, "b": B, "y": Y}, Whole(), "model")[0].keys() == {"a", "b", "y"}
    assert len(args(([A, B], Y), nn.Sequential(nn.Identity()), "loss")[0]) == 2  # forward takes one argument
    wrapped = nn.DataParallel(Two())
    assert len(args((A, B, Y), wrapped)) == 2
    batch = _batch.split("f", (A, B, Y), Two())
    assert batch.examples == 12 and batch.target is Y


ERRORS = [
    (lambda: _batch.split("f", (1, 2), Two()), "f: batch must hold a tensor, got a tuple of 2"),
    (lambda: _batch.split("f", A, Two()), "where a loss is given, got 1 part"),
    (lambda: _batch.split("f", {"a": A, "b": B, "goal": Y}, Two()), "got the keys a, b, goal"),
    (lambda: _batch.split("f", (A.to("meta"), Y), Two()), "model's device cpu, got meta"),
    (lambda: _batch.take("f", iter([]), 3, Two()), "must yield at least one batch"),
    (lambda: next(_batch.batches("f", A, Two())), "must be an iterable of batches, .* got shape"),
    (lambda: next(_batch.batches("f", 3, Two())), "must be an iterable of batches, .* got int"),
    (lambda: list(_batch.cycle("f", iter([(A, B, Y)]), Two(), 3)), "must yield 3 batches.* got 1"),
    (lambda: _batch.resolve_loss("f", "mes"), "did you mean 'mse'"),
    (lambda: _batch.resolve_loss("f", nn.MSELoss), "got the class MSELoss; make an instance"),
    (lambda: _batch.resolve_loss("f", 3), "loss must be callable"),
    (lambda: value((A, B, Y), None), "must return its loss where loss is None"),
    (lambda: value((A, B, Y), lambda o, t: o), "loss must return a scalar.* got shape"),
    (lambda: value((A, B, Y), lambda o, t: 3.0), "loss must return a scalar.* got float"),
    (lambda: value((A, B, Y), lambda o, t: o.detach().mean()), "must depend on the parameters"),
    (lambda: value((A, B, Y + 5), F.cross_entropy), "from 5 to 6.*number the classes from 0 to 1"),
    (lambda: value((A, B, Y.float()), F.cross_entropy), "use target.long()"),
    (lambda: value((A, B, Y[:5]), F.cross_entropy), r"shape \(12, 2\).*shape \(5,\)"),
    (lambda: value((A, B, None), F.mse_loss), "the target .nothing."),
    (lambda: value((A[:, :2], B[:, :2], Y), F.cross_entropy), "must run on the batch, got RuntimeError"),
    (lambda: value((A, B, Y), F.cross_entropy, Own(ANSWERS[1])), None),
    (lambda: dictionary(), "loss=None where the model returns its loss"),
]


class Dictionary(Two):
    def forward(self, a, b):
        return {"logits": super().forward(a, b)}


def dictionary():
    value((A, B, Y), F.cross_entropy, Dictionary())


def value(item, loss, model=None):
    model = model or Two()
    return _batch.evaluate("f", model, _batch.split("f", item, model, _batch.taker(loss)), loss)


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(m)[:30] for _, m in ERRORS])
def test_misuse(call, message):
    if message is None:
        assert call().requires_grad
        return
    with pytest.raises(ConvcraftError, match=message):
        call()


def test_an_error_of_the_loss_itself_is_not_hidden():
    def loss(output, target):
        raise ZeroDivisionError

    def refused(output, target):
        raise ConvcraftError("by the loss")

    for call, error in ((loss, ZeroDivisionError), (refused, ConvcraftError)):
        with pytest.raises(error, match=None if error is ZeroDivisionError else "by the loss"):
            value((A, B, Y), call)
    model = copy.deepcopy(Two())
    model.forward = lambda a, b: (_ for _ in ()).throw(ConvcraftError("by the model"))
    with pytest.raises(ConvcraftError, match="by the model"):
        value((A, B, Y), F.cross_entropy, model)


def test_a_single_batch_where_a_loader_is_wanted_and_a_model_that_wants_its_target():
    class Whole(nn.Linear):
        def forward(self, x=None, y=None):
            return F.cross_entropy(super().forward(x), y)

    x, y = torch.randn(8, 4), torch.arange(8) % 2
    model = Whole(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ConvcraftError, match="put a single batch into a list"):
        range_test(model, (x, y), optimizer)
    with pytest.raises(ConvcraftError, match="loss=None where the model takes the target itself"):
        range_test(model, [{"x": x, "y": y}], optimizer)
    range_test(model, [{"x": x, "y": y}], optimizer, loss=None, steps=5)
