"""Command line of convcraft: `python -m convcraft COMMAND`."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import ConvcraftError, unknown

#: command -> (module whose main(arguments) it calls, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "bench": ("benchmarks", "measure speed and memory as ratios against torch.nn"),
    "claims": ("convcraft.lab.claims", "count the claims of the book and list the open ones"),
    "data": ("convcraft.lab.data", "list the data sets, fetch one, and say where it lies"),
    "diagnose": ("convcraft.diagnostics.command", "look for what keeps a model of your own from training"),
    "enter": ("convcraft.lab.enter", "compare an activation of your own with ReLU on four small tasks"),
    "study": ("convcraft.lab.experiments", "run an experiment of the book, or list them"),
}


def usage() -> str:
    """The text of `--help`."""
    lines = [
        f"convcraft {__version__}",
        "usage: python -m convcraft COMMAND [ARGUMENTS]",
        "       python -m convcraft COMMAND --help",
        "",
        "commands:",
        *(f"  {name:<10}{purpose}" for name, (_, purpose) in COMMANDS.items()),
        "",
        "options:",
        "  -h, --help     show this text",
        "  --version      show the version",
    ]
    return "\n".join(lines)


def _find_benchmarks() -> None:
    """Put the checkout that holds `benchmarks/` on the path; the installed package has none."""
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / "benchmarks" / "__main__.py").is_file():
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
            return
    raise ConvcraftError(
        "bench needs the folder benchmarks/ of the repository, which is not part of the installed package; "
        "clone the repository and run `python -m convcraft bench` inside it"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 when the command or an argument was wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if given else 2
    if given[0] == "--version":
        print(__version__)
        return 0
    try:
        if given[0] not in COMMANDS:
            raise unknown("command", given[0], COMMANDS)
        if given[0] == "bench":
            _find_benchmarks()
        result = importlib.import_module(COMMANDS[given[0]][0]).main(given[1:])
    except ModuleNotFoundError as error:
        if given[0] == "diagnose" or (error.name or "").startswith("convcraft"):
            raise
        print(
            f"convcraft: '{given[0]}' needs {error.name}, which is not installed: pip install 'convcraft[plot,data]'",
            file=sys.stderr,
        )
        return 2
    except ConvcraftError as error:
        print(f"convcraft: {error}", file=sys.stderr)
        return 2
    return int(result or 0)


def run() -> int:
    """Call `main`, and exit quietly when the reader of its output closes the pipe (`| head`)."""
    try:
        status = main()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes once more
        return 141  # as of a process that SIGPIPE ended


if __name__ == "__main__":
    sys.exit(run())
