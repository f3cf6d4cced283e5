"""Types lines into a real interactive shell on a pty and prints what the shell showed.

usage: complete.py SHELL SCRIPT TEXT...    (TEXT: \\t is the Tab key, \\n is Enter)

`civic` is a shell function that prints its arguments, so that a completed line can be run and read back.
"""

import os
import pty
import re
import select
import sys
import time

STARTS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set show-all-if-ambiguous on'; bind 'set page-completions off'; source {script}; "
        "civic() {{ printf 'ran:<%s>\\n' \"$*\"; }}; PS1='ready> '",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -u -D; source {script}; "
        "civic() {{ printf 'ran:<%s>\\n' \"$*\" }}; setopt no_list_beep; PS1='ready> '",
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "source {script}; function civic; echo \"ran:<$argv>\"; end; function fish_prompt; echo -n 'ready> '; end",
    ),
}


def read(fd, quiet, limit):
    """What comes until nothing came for `quiet` seconds, or `limit` seconds have passed."""
    shown, end = b"", time.monotonic() + limit
    while time.monotonic() < end:
        if not select.select([fd], [], [], quiet)[0]:
            break
        try:
            chunk = os.read(fd, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
        # fish asks the terminal what it is, and waits for the answer.
        if b"\x1b[c" in chunk or b"\x1b[0c" in chunk:
            os.write(fd, b"\x1b[?62;c")
    return shown.decode("utf-8", "replace")


def main():
    shell, script, *texts = sys.argv[1:]
    command, setup = STARTS[shell]
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS="200", LINES="50", LC_ALL="C.UTF-8")
        os.execvp(command[0], command)
    read(fd, 0.7, 10)
    os.write(fd, (setup.format(script=script) + "\n").encode())
    read(fd, 0.7, 10)
    shown = ""
    for part in re.split(r"(\\t|\\n)", "".join(texts)):
        if part:
            os.write(fd, {"\\t": b"\t", "\\n": b"\n"}.get(part, part.encode()))
            shown += read(fd, 0.4 if part == "\\t" else 0.2, 8)
    # A busy machine: what was typed ahead is still to be run.
    end = time.monotonic() + 30
    while shown.count("ran:<") < "".join(texts).count("\\n") and time.monotonic() < end:
        shown += read(fd, 1, 5)
    os.close(fd)
    print(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|[\r\x07\x0f]", "", shown))


main()
