"""The one exception for misuse, and the message for a name that is not known."""

import difflib
from collections.abc import Iterable

__all__ = ["ConvcraftError", "unknown"]


class ConvcraftError(ValueError):
    """Raised for every misuse: it names the argument, what was expected, what was got, and what to do.

    It is a `ValueError`, so that code which catches `ValueError` keeps working.

    >>> from convcraft import ConvcraftError
    >>> issubclass(ConvcraftError, ValueError)
    True
    """


def unknown(kind: str, name: object, known: Iterable[str]) -> ConvcraftError:
    """Build (not raise) the error for a name that is not known, with the near matches by `difflib`.

    Formula: the names whose `difflib` similarity ratio to the given one, in lower case, is at least 0.5; at
    most three.

    Args:
        kind: what the name names, for example "activation".
        name: what was given.
        known: every name that would have been right.

    >>> print(unknown("activation", "rleu", ["relu", "selu", "tanh"]))
    unknown activation 'rleu': did you mean 'relu' or 'selu'? Known: relu, selu, tanh
    """
    names = sorted(str(item) for item in known)
    lowered = {item.lower(): item for item in names}
    near = difflib.get_close_matches(str(name).lower(), list(lowered), n=3, cutoff=0.5)
    hint = f" did you mean {' or '.join(repr(lowered[item]) for item in near)}?" if near else ""
    return ConvcraftError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(names)}")
