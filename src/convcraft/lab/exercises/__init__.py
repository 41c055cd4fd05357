"""Checks for the exercises: `check(name, answer)` says what is wrong, not only that it is.

Each chapter has one module of checks in this folder, named as the chapter is, whose `CHECKS` lists them.
A check is a function of the answer that returns None when it is right, else a sentence saying what is wrong; where
it yields several of these, the first sentence counts::

    def slope_at_zero(answer):
        return compare(answer, 0.25, "the slope of the sigmoid at 0")

    CHECKS = by_name(slope_at_zero)
"""

from convcraft.lab.exercises.framework import Result, check, compare, exercise, names

__all__ = ["Result", "check", "compare", "exercise", "names"]
