"""What all benches share: where things are, how a command is measured, how medians are told."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CIVIC = ROOT / "target/release/civic"
S5CMD = ROOT / "target/bench-tools/s5cmd/bin/s5cmd"
ROUNDS = int(os.environ.get("ROUNDS", 5))
KEYS = {"AWS_ACCESS_KEY_ID": "civic-test", "AWS_SECRET_ACCESS_KEY": "civic-test-secret"}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "NO_PROXY": "127.0.0.1",
    "AWS_REGION": "us-east-1",
    "JFS_GC_SKIPPEDTIME": "0",  # juicefs would skip what is younger than an hour
    **KEYS,
}


class Row:
    """Medians over all rounds, and the most memory that any round took."""

    def __init__(self, samples):
        self.wall = statistics.median(wall for wall, _, _ in samples)
        self.cpu = statistics.median(cpu for _, cpu, _ in samples)
        self.mib = max(kib for _, _, kib in samples) / 1024
        self.memory = f"peak {self.mib:.1f} MiB"


def take_turns(commands, rounds):
    """Runs A B C A B C …, so that whatever else the machine does hits all alike; the first round warms up."""
    samples = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            sample = measure(command)
            if number:
                samples[name].append(sample)
    return {name: Row(taken) for name, taken in samples.items()}


def measure(command):
    """Wall seconds, CPU seconds and peak resident KiB of one run; never less than this process itself, about 15 MiB.

    What the run before left to be written to the disk is written first: nobody pays for another.
    """
    os.sync()
    with open(os.devnull, "wb") as nowhere, tempfile.TemporaryFile() as told:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=nowhere, stderr=told
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            sys.exit(f"{command[0]} ended with {process.returncode}:\n{told.read().decode()[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def heading(text):
    print(f"\n{text}", flush=True)


def run(*command, **more):
    """Runs a step of the preparation; its answer, or the end of it all with what it said."""
    done = subprocess.run([str(part) for part in command], env=ENVIRONMENT | more, capture_output=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr.decode()[-2000:]}")
    return done.stdout


def check(name, found, expected):
    if found != expected:
        sys.exit(f"{name} has {found} files, where {expected} were to be")
