"""What the tests are worth: small faults are put into the program, one at a time, and each should fail a test.

    python tests/mutants/mutants.py [--n 200] [--seed 1] [--processes 2] [--floor 0.9] [--only FILE,…] [--again]

A sample of N mutants is drawn, evenly over domain, store, tasks and media; the same seed draws the same ones as long
as their lines stay as they are. Those that change nothing anybody could see are listed in equivalents.toml with the
reason, and not drawn. Survivors are written as patches into build/mutants/survivors.diff; `--again` tries only those,
with all tests of the folder that mirrors theirs.

Exit status 0 if the share that is killed reaches the floor, 1 otherwise.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Draw, try, and say what survived."""
    sys.path.insert(0, str(ROOT))
    from tests.mutants.program import run  # noqa: PLC0415 - the path comes first

    sys.exit(run(ROOT))


if __name__ == "__main__":
    main()
