"""The clinic: for each finding of `convcraft.diagnostics` a sick network, and its healthy twin.

A case is a model, a batch or a list of batches, a loss and an optimizer, everything that `diagnose` takes.
The twin differs from the sick network in the one thing that makes it sick. Chapter: Combining.

>>> from convcraft.diagnostics import diagnose
>>> "dead-units" in diagnose(*sick("dead-units")), "dead-units" in diagnose(*healthy("dead-units"))
(True, False)
"""

from convcraft._checks import check_known
from convcraft.lab.clinic.cases import Case
from convcraft.lab.clinic.illnesses import CASES
from convcraft.lab.randomness import check_seed, forked

__all__ = ["Case", "describe", "healthy", "names", "sick"]


def names() -> list[str]:
    """Names of the illnesses; each is the name of the finding that diagnoses it. Chapter: Combining.

    >>> names()[:2]
    ['dead-units', 'saturated-units']
    """
    return list(CASES)


def describe(name: str) -> str:
    """What ails the sick network and what its twin has instead.

    Raises ConvcraftError for an unknown name, listing the near matches. Chapter: Combining.

    >>> describe("constant-weights")
    'Every weight of the hidden layer is 0.05; the twin has random ones.'
    """
    check_known("illness", name, CASES)
    return " ".join((CASES[name].__doc__ or "").split())


def sick(name: str, *, seed: int = 0) -> Case:
    """A network with this illness: model, batch, loss, optimizer. The global random state stays as it was.

    Raises ConvcraftError for an unknown name, listing the near matches. Chapter: Combining.

    >>> case = sick("softmax-before-cross-entropy")
    >>> type(case.model).__name__, case.batch[0].shape
    ('Sequential', torch.Size([64, 20]))
    """
    return _made(name, True, seed)


def healthy(name: str, *, seed: int = 0) -> Case:
    """Its twin without the illness, from the same seed.

    Raises ConvcraftError for an unknown name, listing the near matches. Chapter: Combining.

    >>> len(healthy("exploding-gradient").model), len(sick("exploding-gradient").model)
    (21, 21)
    """
    return _made(name, False, seed)


def _made(name: str, ill: bool, seed: int) -> Case:
    check_known("illness", name, CASES)
    with forked(check_seed(seed)):
        return CASES[name](ill)
