"""`python -m ezrec` and the `ezrec` script.

Worker processes may import this file again, so it imports the program only when it is asked to run it.
"""


def main() -> None:
    """Run the command line."""
    from ezrec.cli import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
