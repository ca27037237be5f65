"""`python -m ezrec` is the `ezrec` command."""

from ezrec.cli import main

if __name__ == "__main__":
    main()
