"""One thing that `diagnose` has found."""

import textwrap
from dataclasses import dataclass, field

SEVERITIES = ("severe", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or unusual, with the numbers that say so."""

    name: str  #: of the kind of finding, for example "dead-units"; `findings.names()` lists them
    #: "severe" (it will not train, or the result is wrong), "warning" (it will train worse than it could) or
    #: "note" (worth knowing)
    severity: str
    layer: str  #: where; "" where it is the whole model, its data or its optimizer
    message: str  #: what was seen, with the numbers
    numbers: dict[str, float] = field(default_factory=dict)  #: the same by name
    why: str = ""  #: why it matters
    remedy: str = ""  #: what to do
    chapter: str = ""  #: title of the book's chapter that explains it

    @property
    def rank(self) -> int:
        """0 for severe, 1 for a warning, 2 for a note."""
        return SEVERITIES.index(self.severity)

    def __str__(self) -> str:
        place = f" at {self.layer}" if self.layer else ""
        text = [f"{self.severity}: {self.name}{place}"]
        text += textwrap.wrap(self.message, 96, initial_indent="    ", subsequent_indent="    ")
        see = self.chapter and f"the chapter on {self.chapter}"
        for label, value in (("why", self.why), ("do", self.remedy), ("see", see)):
            indent = f"    {label + ':':<5}"
            text += textwrap.wrap(value, 96, initial_indent=indent, subsequent_indent=" " * 9)
        return "\n".join(text)
