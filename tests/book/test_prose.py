"""The numbers of the prose are those of the outputs: each is looked for in the cells of its section."""

from __future__ import annotations

import html
import re

import pytest
from pages import CHAPTERS, output_text, paragraphs, read

WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
# "one" is mostly an article, and "two" to "four" mostly count what the sentence names ("two ways", "three
# things"); they are looked for only in front of a unit or a share.
COUNTED = r"points?|percent|seeds?|epochs?|layers?|times|updates?|units?|of (?:the )?\w+"
SPELLED = re.compile(rf"\b({'|'.join(list(WORDS)[5:])})\b|\b(two|three|four) (?={COUNTED})", re.IGNORECASE)
DIGITS = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:e[−-]?\d+)?(?![\w])")
# Not numbers of an experiment: mathematics, code, roles (citations, references), addresses, years.
APART = re.compile(r"\$[^$]*\$|`[^`]*`|\{[\w:+-]+\}`[^`]*`|\]\([^)]*\)|\b(?:18|19|20)\d\d\b")
# What an exercise gives is not a result.
GIVEN = re.compile(r"```\{exercise-start\}.*?```\{exercise-end\}\s*```", re.DOTALL)
# Numbers that no cell of the section shows, by page: the text around each, and why it is right.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "dropout": {"64 in: shows a network": "the width of a recorded study's network"},
}


def numbers(text: str) -> list[tuple[float, int]]:
    """The numbers in a text, each with its digits behind the point."""
    found = []
    for match in DIGITS.finditer(text):
        plain = match[0].replace("−", "-").replace(",", "")
        mantissa = plain.partition("e")[0]
        found.append((float(plain), len(mantissa.partition(".")[2]) if "e" not in plain else 12))
    found += [(float(WORDS[(m[1] or m[2]).lower()]), 0) for m in SPELLED.finditer(text)]
    return found


def shown(value: float, digits: int, pool: set[float]) -> bool:
    """Whether a number of the pool rounds to this one, as it is or as a percentage, whatever its sign."""
    half = 0.5000001 * 10.0**-digits
    return any(
        abs(abs(value) - abs(other) * scale) <= half + 1e-9 * abs(other)
        for other in pool
        for scale in (1, 100, 0.01, 1000, 0.001)
        if scale != 0.01 or digits > 1
    )


def sections(nb) -> list[tuple[str, set[float]]]:
    """Text and pool of numbers of each section: what its code says and its outputs show."""
    found: list[tuple[list[str], list[str]]] = [([], [])]
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"^(?=##? )", cell.source, flags=re.MULTILINE):
                if re.match(r"##? ", part):
                    found.append(([], []))
                found[-1][0].append(GIVEN.sub("", part))
                found[-1][1].extend(re.findall(r"\$[^$]*\$|`[^`]*`", part))
        else:
            bare = re.sub(r"<style.*?</style>|<[^>]*>", " ", output_text(cell), flags=re.S)
            caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
            found[-1][1].extend([cell.source, html.unescape(bare), caption])
    return [
        ("\n\n".join(text), {value for value, _ in numbers(re.sub(r"(?<=\d)_(?=\d)", "", "\n".join(pool)))})
        for text, pool in found
    ]


def unsupported(nb) -> list[str]:
    """The numbers of the prose that no cell of their section shows, with the words around them."""
    every = sections(nb)
    whole = set().union(*(pool for _, pool in every))
    missing = []
    for place, (text, pool) in enumerate(every):
        known = whole if place <= 1 else pool  # the summary speaks of the whole page
        for paragraph in paragraphs(text):
            plain = APART.sub(" ", paragraph)
            for sentence in re.split(r"(?<=[.:;?!])\s+", plain):
                for value, digits in numbers(sentence):
                    if not shown(value, digits, known):
                        missing.append(f"{value:g} in: {' '.join(sentence.split())}")
    return missing


def test_numbers_are_found_and_matched():
    assert numbers("In 95.7 % of −3 cases, 1,024 updates, seven of them, 1e-05.") == [
        (95.7, 1), (-3.0, 0), (1024.0, 0), (1e-05, 12), (7.0, 0),
    ]  # fmt: skip
    assert shown(95.7, 1, {0.9568}) and shown(0.3, 1, {-0.3}) and shown(2.5, 1, {0.0249})
    assert not shown(95.7, 1, {0.9578, 95.6}) and not shown(20, 0, {22.0})


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_numbers_in_prose_come_from_outputs(path):
    known = EXCEPTIONS.get(path.stem, {})
    missing = [one for one in unsupported(read(path)) if not any(part in one for part in known)]
    assert missing == [], "\n".join(missing)


def test_exceptions_are_still_needed():
    for name, known in EXCEPTIONS.items():
        (path,) = [p for p in CHAPTERS if p.stem == name]
        missing = unsupported(read(path))
        for part, reason in known.items():
            assert len(reason.split()) >= 3 and any(part in one for one in missing), f"{name}: {part}"
