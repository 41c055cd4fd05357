"""`python -m benchmarks` from a checkout; the same as `python -m convcraft bench`."""

import sys

from benchmarks import main
from convcraft.errors import ConvcraftError

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConvcraftError as error:
        sys.exit(f"convcraft: {error}")
