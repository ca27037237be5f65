"""A program that runs many commands where it was started, each in a process of its own.

It reads command lines (JSON) from its first argument, forks for each after everything was imported once, and prints
what each came to: exit status, stdout, stderr. The second argument names what is wrong with the process. A command that
works goes on for a while, and is asked to end then.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

LIMIT_S = 1.0  # a command that is still at work then has not tripped over what is wrong
KILL_S = 20.0
PR_CAPBSET_DROP = 24  # prctl(2)
OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: with them root is asked for no file's mode
DROPPED = "EZREC_TEST_DROPPED"


def main() -> None:
    """Run them."""
    lines, wrong = json.loads(sys.argv[1]), sys.argv[2]
    if os.geteuid() == 0 and os.environ.pop(DROPPED, None) is None:
        for capability in OVERRIDES:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {DROPPED: "1"})
    import ezrec.cli  # noqa: PLC0415 - once, before the forks
    import ezrec.supervisor  # noqa: PLC0415

    if wrong == "folder gone":
        shutil.rmtree(Path.cwd())
    print(json.dumps([_run(ezrec.cli.main, words, wrong) for words in lines]))


def _run(command: Any, words: list[str], wrong: str) -> list[Any]:
    pipes = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
    child = os.fork()
    if child == 0:
        try:
            _become(pipes[0][1], pipes[1][1], wrong)
            sys.argv = ["ezrec", *words]
            command()
        finally:
            os._exit(_status(sys.exc_info()[1]))
    ended = os.pidfd_open(child)
    for limit_s, number in ((LIMIT_S, signal.SIGTERM), (KILL_S, signal.SIGKILL)):
        if not select.select([ended], [], [], limit_s)[0]:
            os.kill(child, number)
    _, code = os.waitpid(child, 0)
    os.close(ended)
    return [os.waitstatus_to_exitcode(code), *map(_said, pipes)]


def _become(out: int, err: int, wrong: str) -> None:
    """Give the forked process its streams, and what is wrong with it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for number in (0, 1, 2):
        os.set_blocking(number, True)
    match wrong:
        case "stdin and stdout closed":
            os.closerange(0, 2)
        case "no streams":
            os.closerange(0, 3)
        case "stdout full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        case "no file may grow":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        stream = None
        with contextlib.suppress(OSError):  # closed
            stream = open(number, mode, encoding="ascii" if wrong == "ascii" else "utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)


def _status(error: BaseException | None) -> int:
    """The exit status that the interpreter would give, after its traceback."""
    if isinstance(error, SystemExit):
        return int(error.code or 0)
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    return 1


def _said(pipe: tuple[int, int]) -> str:
    os.close(pipe[1])
    data = b""
    with contextlib.suppress(BlockingIOError):  # a worker that outlived its parent has it open
        while more := os.read(pipe[0], 65536):
            data += more
    os.close(pipe[0])
    return data.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
