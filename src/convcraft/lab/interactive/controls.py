"""The controls: choices, sliders, and sliders that depend on a choice."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convcraft._checks import check_all_known
from convcraft.errors import ConvcraftError, unknown


class Option(NamedTuple):
    """The values of a control and where it starts."""

    label: str
    values: tuple[Any, ...]
    start: int


class Control(NamedTuple):
    """A control: one option, or one for each value of the control at place `by` that it depends on."""

    name: str
    options: tuple[Option | None, ...]
    by: int | None

    @property
    def select(self) -> bool:
        """Whether it is a list to choose from; numbers in order make a slider."""
        first = next(o for o in self.options if o is not None)
        return self.by is None and not (len(first.values) > 1 and all(_is_number(v) for v in first.values))

    def option(self, state: Sequence[int]) -> Option | None:
        """The option that applies when the controls before this one are set as in `state`."""
        return self.options[0 if self.by is None else state[self.by]]

    def as_json(self) -> dict[str, Any]:
        """What the script needs."""
        if self.by is None:
            return {"select": self.select, **_option_json(self.options[0])}
        return {
            "label": next(o.label for o in self.options if o is not None),
            "select": False,
            "by": self.by,
            "options": [_option_json(o) if o else None for o in self.options],
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _option_json(option: Option | None) -> dict[str, Any]:
    assert option is not None
    return {"label": option.label, "values": [written(v) for v in option.values], "start": option.start}


def written(value: Any) -> str:
    """A value as the reader sees it."""
    return f"{value:g}" if _is_number(value) else str(value)


def _option(name: str, values: Any, start: Any) -> Option:
    label = name.replace("_", " ")
    if isinstance(values, tuple) and len(values) == 2 and isinstance(values[0], str) and not isinstance(values[1], str):
        label, values = values
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not len(values):
        raise ConvcraftError(f"control {name!r}: expected a list of values, got {values!r}")
    values = tuple(values)
    if len(set(map(written, values))) < len(values):
        raise ConvcraftError(f"control {name!r}: expected values that differ, got {list(values)!r}")
    if start is None:
        return Option(label, values, 0)
    if start not in values:
        raise unknown(f"start of control {name!r}", written(start), map(written, values))
    return Option(label, values, values.index(start))


def parse(controls: Mapping[str, Any], start: Mapping[str, Any] | None) -> list[Control]:
    """Check the controls of a figure and where they start."""
    if not isinstance(controls, Mapping) or not controls:
        raise ConvcraftError(f"controls: expected a dict of name: values, got {controls!r}")
    start = dict(start or {})
    check_all_known("control in start", start, controls)
    parsed: list[Control] = []
    for name, values in controls.items():
        if not str(name).isidentifier():
            raise ConvcraftError(f"controls: expected a name that frame() can take as an argument, got {name!r}")
        if isinstance(values, Mapping):
            parsed.append(_dependent(name, values, start.get(name), parsed))
        else:
            parsed.append(Control(name, (_option(name, values, start.get(name)),), None))
    return parsed


def _dependent(name: str, values: Mapping[Any, Any], start: Any, before: list[Control]) -> Control:
    """A control with values for some values of an earlier one: ``{"elu": ("slope", [0, 0.1], 0.1)}``."""
    plain = [(k, c.options[0]) for k, c in enumerate(before) if c.by is None]
    holding = [(k, option) for k, option in plain if option and values and set(values) <= set(option.values)]
    if not holding:
        raise ConvcraftError(
            f"control {name!r}: expected its keys to be values of an earlier control, got {list(values)!r}"
        )
    place, parent = holding[0]
    options: list[Option | None] = []
    for key in parent.values:
        entry = values.get(key)
        first = None
        if isinstance(entry, tuple) and len(entry) == 3:
            *entry, first = entry
            entry = tuple(entry)
        options.append(None if entry is None else _option(name, entry, first))
    if start is not None:
        option = options[parent.start]
        options[parent.start] = _option(name, (option.label, option.values) if option else [], start)
    return Control(name, tuple(options), place)


def combinations(controls: Sequence[Control], state: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every state of the controls, the last control varying fastest."""
    if len(state) == len(controls):
        yield state
        return
    option = controls[len(state)].option(state)
    for i in range(len(option.values) if option else 1):
        yield from combinations(controls, (*state, i))


def arguments(controls: Sequence[Control], state: Sequence[int]) -> dict[str, Any]:
    """The arguments of frame() in a state; None for a control without values there."""
    values = {}
    for i, control in zip(state, controls, strict=True):
        option = control.option(state)
        values[control.name] = option.values[i] if option else None
    return values


def nested_index(places: Mapping[tuple[int, ...], int]) -> Any:
    """The number of each state's frame as nested lists, one level per control."""
    root: list[Any] = []
    for state, number in places.items():
        level = root
        for i in state[:-1]:
            while len(level) <= i:
                level.append([])
            level = level[i]
        level.append(number)
    return root
