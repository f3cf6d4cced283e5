"""How moving bytes compares to the specialists, on SeaweedFS: files up, down and away.

The peers only copy; civic also records every file in its database, durably, before it calls it stored, and compares every
file that it fetches with what was stored. Every result is counted: a fast wrong answer is worth nothing.
"""

import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys

from bench import KEYS, ROOT, ROUNDS, S5CMD, Row, check, heading, measure, run
from civic import Civic

RCLONE = ROOT / "target/tools/bin/rclone"
FILES = int(os.environ.get("FILES", 10_000))
LARGE = int(os.environ.get("LARGE", 1024))
AT_ONCE, AT_ONCE_FAR = 32, 64
LATENCY = 20  # milliseconds there and back
KIB, MIB = 1 << 10, 1 << 20
BUCKET = "transfer"


def main(scratch):
    endpoint = os.environ["CIVIC_TEST_SEAWEED"]
    in_bucket(endpoint, "mb")
    everything(scratch / "near", endpoint, AT_ONCE, "")
    with wire(endpoint, LATENCY) as far:
        few(scratch / "few", far)
        everything(scratch / "far", far, AT_ONCE_FAR, f", {LATENCY} ms away")


def everything(folder, endpoint, at_once, where):
    many(folder / "many", endpoint, at_once, where)
    large(folder / "large", endpoint, at_once, where)


@contextlib.contextmanager
def wire(endpoint, milliseconds):
    """The same server, so many milliseconds away."""
    command = [ROOT / "target/release/examples/delay", endpoint.removeprefix("http://"), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def few(folder, endpoint):
    heading(f"10 files of 4 KiB, {LATENCY} ms away, ten at once in one run")
    files = sources(folder / "files", 10, 4 * KIB)
    samples = {"ten at once": [], "ten runs of one": [], "one after the other": []}
    for number in range(ROUNDS + 1):
        for name, taken in samples.items():
            prefix = f"few-{number}-{len(name)}"
            civic = Civic(folder / prefix, bucket(endpoint, prefix), 1 if name == "one after the other" else 10)
            run(*civic.upload(files[0]))  # makes the tables
            runs = files if name == "ten runs of one" else [folder / "files"]
            sample = [measure(civic.upload(what)) for what in runs]
            civic.expect(11)
            if number:
                taken.append((sum(s[0] for s in sample), sum(s[1] for s in sample), max(s[2] for s in sample)))
    ten, runs, one = (Row(taken).wall for taken in samples.values())
    verdict = "met" if runs / ten >= 5 else "MISSED"
    print(f"  as fast as ten runs   {runs / ten:5.2f} x (aim 5 to 10, {verdict}; {ten:.3f} s, {runs:.3f} s)")
    print(f"  as --concurrency 1    {one / ten:5.2f} x ({one:.3f} s; both pay the start of the program and of the connection)")
    shutil.rmtree(folder)


def many(folder, endpoint, at_once, where):
    heading(f"{FILES:,} files of 4 KiB, {at_once} at once{where}")
    sources(folder / "files", FILES, 4 * KIB)
    samples = rounds(folder, endpoint, FILES, at_once)
    tell(samples, {"up": 1.1, "down": 1.1, "away": 1.1, "away, same objects": 1.1, "to the trash": 1.1})
    shutil.rmtree(folder)


def large(folder, endpoint, at_once, where):
    heading(f"One file of {LARGE:,} MiB{where}")
    sources(folder / "files", 1, LARGE * MIB)
    samples = rounds(folder, endpoint, 1, at_once)
    tell(samples, {"up": 1.1, "down": 1.1, "down, same work": 1.1})
    shutil.rmtree(folder)


def bucket(endpoint, prefix):
    return {"type": "s3", "bucket": BUCKET, "prefix": prefix, "endpoint": endpoint, "region": "us-east-1",
            "options": {"force_path_style": True}}


def rounds(folder, endpoint, count, at_once):
    """Each tool in turn stores everything under a prefix of its own, fetches it and deletes it; then stores it again and
    moves it to another prefix, as a trash is one."""
    samples = {what: {} for what in ("up", "down", "down, same work", "away", "away, same objects", "to the trash")}
    for number in range(ROUNDS + 1):
        tools = {
            "civic": Civic(folder / "civic", bucket(endpoint, f"civic-{number}"), at_once),
            "s5cmd": S5cmd(endpoint, f"s5cmd-{number}", at_once),
            "rclone": Rclone(endpoint, f"rclone-{number}", at_once),
        }
        for name, tool in in_turn(tools, number):
            taken = {"up": measure(tool.upload(folder / "files"))}
            tool.expect(count)
            out = folder / "out"
            out.mkdir()
            taken["down"] = measure(tool.download(out))
            equal(folder / "files", out)
            if count == 1:
                again = folder / "again"
                again.mkdir()
                taken["down, same work"] = measure(same_work(again, tool.download(again), name))
                shutil.rmtree(again)
            taken["away"] = measure(tool.delete())
            tool.expect(0)
            if count > 1:
                is_civic = name == "civic"
                taken["away, same objects"] = taken["away"] if is_civic else of_civic(folder, endpoint, type(tool), at_once)
            run(*tool.upload(folder / "files"))
            taken["to the trash"] = measure(tool.trash())
            tool.expect(0)
            shutil.rmtree(out)
            if number:
                for what, sample in taken.items():
                    samples[what].setdefault(name, []).append(sample)
        shutil.rmtree(folder / "civic")
        # What was deleted lies on SeaweedFS's disk as long as the bucket is there: another round may fill it.
        in_bucket(endpoint, "rm", "/*")
        in_bucket(endpoint, "rb")
        in_bucket(endpoint, "mb")
    return samples


def in_bucket(endpoint, what, keys=""):
    run(S5CMD, "--log", "error", "--endpoint-url", endpoint, what, f"s3://{BUCKET}{keys}")


def in_turn(tools, number):
    """Each round begins with another."""
    tools = list(tools.items())
    first = number % len(tools)
    return tools[first:] + tools[:first]


def of_civic(folder, endpoint, peer, at_once):
    """A peer's deletion of what civic stored: objects that say of themselves what they are cost the server more."""
    prefix = f"lent-{os.urandom(4).hex()}"
    civic = Civic(folder / prefix, bucket(endpoint, prefix), at_once)
    run(*civic.upload(folder / "files"))
    civic.expect(FILES)
    taken = measure(peer(endpoint, f"{prefix}/files", at_once).delete())
    Rclone(endpoint, f"{prefix}/files", at_once).expect(0)
    shutil.rmtree(folder / prefix)
    return taken


def same_work(out, command, name):
    """The same, and what it wrote is hashed and on the disk when it ends: civic sees to that by itself, and its peers do not."""
    hashed = "" if name == "civic" else 'sha256sum "$out"/* &&'
    return ["sh", "-c", f'out=$1; shift; "$@" && {hashed} sync -f "$out"', "sh", out, *command]


def tell(samples, aims):
    for what, aim in aims.items():
        rows = {name: Row(taken) for name, taken in samples[what].items()}
        civic = rows["civic"]
        peers = {name: row for name, row in rows.items() if name != "civic"}
        name, fastest = min(peers.items(), key=lambda peer: peer[1].wall)
        ratio = civic.wall / fastest.wall
        medians = ", ".join(f"{name} {row.wall:.2f} s" for name, row in rows.items())
        verdict = "met" if ratio <= aim else "MISSED"
        print(f"  {what:<20} {ratio:5.2f} x {name}, the fastest (aim {aim}, {verdict}), "
              f"{civic.cpu / fastest.cpu:.2f} x its CPU; {medians}; {civic.memory}", flush=True)


class S5cmd:
    def __init__(self, endpoint, prefix, at_once):
        self.place = f"s3://{BUCKET}/{prefix}/"
        self.quiet = [S5CMD, "--endpoint-url", endpoint, "--numworkers", at_once]
        self.base = [*self.quiet, "--log", "error"]

    def upload(self, what):
        return [*self.base, "cp", f"{what}/", self.place]

    def download(self, out):
        return [*self.base, "cp", f"{self.place}*", f"{out}/"]

    def delete(self):
        return [*self.base, "rm", f"{self.place}*"]

    def trash(self):
        return [*self.base, "mv", f"{self.place}*", f"{self.place.removesuffix('/')}-trash/"]

    def expect(self, count):
        if count:
            check("s5cmd", len(run(*self.quiet, "ls", f"{self.place}*").splitlines()), count)


class Rclone:
    def __init__(self, endpoint, prefix, at_once):
        remote = (f":s3,provider=SeaweedFS,endpoint='{endpoint}',access_key_id={KEYS['AWS_ACCESS_KEY_ID']},"
                  f"secret_access_key={KEYS['AWS_SECRET_ACCESS_KEY']},no_check_bucket=true:")
        self.place = f"{remote}{BUCKET}/{prefix}"
        self.base = [RCLONE, "--config=/dev/null", f"--transfers={at_once}", f"--checkers={at_once}"]

    def upload(self, what):
        return [*self.base, "copy", what, self.place]

    def download(self, out):
        return [*self.base, "copy", self.place, out]

    def delete(self):
        return [*self.base, "delete", self.place]

    def trash(self):
        return [*self.base, "move", self.place, f"{self.place}-trash"]

    def expect(self, count):
        check("rclone", len(run(*self.base, "lsf", self.place).splitlines()), count)


def equal(sent, fetched):
    names = sorted(path.name for path in sent.iterdir())
    check("the directory", sorted(path.name for path in fetched.iterdir()), names)
    for name in names:
        if (sent / name).stat().st_size != (fetched / name).stat().st_size:
            sys.exit(f"{name} came back with another size")


def sources(folder, count, size):
    """Files whose bytes no server can share or compress."""
    folder.mkdir(parents=True)
    chance = random.Random(count)
    paths = [pathlib.Path(folder, f"file-{number:05}.bin") for number in range(count)]
    for path in paths:
        with open(path, "wb") as file:
            for _ in range(max(1, size // MIB)):
                file.write(chance.randbytes(min(size, MIB)))
    return paths
