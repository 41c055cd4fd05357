"""What every exercise owes to an answer that is right, and to one that is wrong."""

from convcraft.lab.exercises import check


def passes(name, answer):
    """The answer is right, and the exercise was open before it."""
    result = check(name, answer)
    assert result, repr(result)
    assert "Not answered yet" in repr(check(name, ...))


def is_told(name, answer, said):
    """The answer is wrong, and the text says why."""
    result = check(name, answer)
    assert not result
    assert said in repr(result), repr(result)
