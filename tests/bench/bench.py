"""The bench: what DESIGN's "Numbers to reach" ask for, with what this machine reaches beside it.

    python tests/bench/bench.py [--quick] [--json FILE] [--only NAME,…] [--folder FOLDER]

Film making is compared within one run and in CPU time (user and system, of the process and its children), so that
other programs on the machine matter little; delays, frames and idle cost come from the real `python -m ezrec run`.
Exit status 0 if every goal was reached, 1 otherwise.

Worker processes import this file again, so it imports nothing of the program before it is asked to run.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run the bench."""
    sys.path.insert(0, str(ROOT))
    from tests.bench.program import run  # noqa: PLC0415 - see above

    sys.exit(run())


if __name__ == "__main__":
    main()
