"""Kills a piece of work with SIGKILL before each of its acts on disk or network, one after the other."""

import contextlib
import os
import signal
import sys

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.symlink", "os.chmod", "socket.connect", "shutil.rmtree"}


def killed_at(number, act):
    """Run `act` in a child that is killed by SIGKILL before its `number`th act on disk or network; its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    seen = 0

    def hook(event, args):
        nonlocal seen
        writes = event != "open" or (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))
        if event in EVENTS and writes:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    with contextlib.suppress(BaseException):
        act()
        os._exit(0)
    os._exit(1)


def steps(act_at):
    """Kill at the first act, the second, … until one run comes through; how many were killed."""
    for number in range(1, 200):
        status = act_at(number)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return number - 1
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError("never came through")
