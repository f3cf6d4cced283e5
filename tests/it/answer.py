"""Runs a command on a pty, types an answer once it asks, prints what it showed, and exits as it did.

usage: answer.py ANSWER COMMAND [ARGUMENT...]

`hangup` closes the terminal instead, `terminate` ends the command by SIGTERM.
"""

import os
import pty
import select
import signal
import sys
import time


def main():
    answer, command = sys.argv[1], sys.argv[2:]
    child, fd = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    shown, asked, end = b"", False, time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # the command has ended
            break
        if not chunk:
            break
        shown += chunk
        if not asked and b"[y/N]" in shown:
            asked = True
            if answer == "hangup":
                os.close(fd)
                break
            if answer == "terminate":
                os.kill(child, signal.SIGTERM)
                continue
            os.write(fd, answer.encode())
    if time.monotonic() >= end:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    sys.stdout.buffer.write(shown)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
