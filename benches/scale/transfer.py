"""How moving bytes compares to the specialists, on SeaweedFS: files up, down and away.

The peers only copy; civic also records every file in its database, durably, before it calls it stored, and compares every
file that it fetches with what was stored. Every result is counted: a fast wrong answer is worth nothing.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import sys

from bench import CIVIC, HERE, KEYS, ROOT, ROUNDS, S5CMD, Row, heading, measure, run

RCLONE = ROOT / "target/tools/bin/rclone"
FILES = int(os.environ.get("FILES", 10_000))
LARGE = int(os.environ.get("LARGE", 1024))
AT_ONCE = 32
KIB, MIB = 1 << 10, 1 << 20
MEMORY = 128
BUCKET = "transfer"


def main(scratch):
    endpoint = os.environ["CIVIC_TEST_SEAWEED"]
    run(S5CMD, "--log", "error", "--endpoint-url", endpoint, "mb", f"s3://{BUCKET}")
    few(scratch / "few", endpoint)
    many(scratch / "many", endpoint)
    large(scratch / "large", endpoint)


def few(folder, endpoint):
    heading("10 files of 4 KiB, one batch to ten runs")
    files = sources(folder / "files", 10, 4 * KIB)
    samples = {"one batch": [], "ten runs": []}
    for number in range(ROUNDS + 1):
        civic = Civic(folder / f"civic-{number}", endpoint, f"few-{number}")
        batch = [measure(civic.upload(folder / "files"))]
        single = [measure(civic.upload(file)) for file in files]
        civic.expect(20)
        if number:
            for name, taken in (("one batch", batch), ("ten runs", single)):
                samples[name].append(tuple(map(sum, zip(*taken))))
    batch, single = Row(samples["one batch"]), Row(samples["ten runs"])
    print(f"  one batch : ten runs {batch.wall / single.wall:5.2f} x the time ({batch.wall:.2f} s, {single.wall:.2f} s)")
    shutil.rmtree(folder)


def many(folder, endpoint):
    heading(f"{FILES:,} files of 4 KiB, {AT_ONCE} at once")
    sources(folder / "files", FILES, 4 * KIB)
    tell(rounds(folder, endpoint, FILES), {"up": 1.1, "down": 1.1, "away": 1.1, "away, to the trash": None})
    shutil.rmtree(folder)


def large(folder, endpoint):
    heading(f"One file of {LARGE:,} MiB")
    sources(folder / "files", 1, LARGE * MIB)
    samples = rounds(folder, endpoint, 1)
    tell(samples, {"up": 1.1, "down": 1.1})
    for what in ("up", "down"):
        mib = Row(samples[what]["civic"]).mib
        print(f"  civic's memory, {what:<6} {mib:6.1f} MiB (aim {MEMORY}, {'met' if mib <= MEMORY else 'MISSED'})")
    shutil.rmtree(folder)


def rounds(folder, endpoint, count):
    """Each tool in turn stores everything under a prefix of its own, fetches it and deletes it."""
    samples = {what: {} for what in ("up", "down", "away", "away, to the trash")}
    for number in range(ROUNDS + 1):
        tools = {
            "civic": Civic(folder / "civic", endpoint, f"civic-{number}"),
            "s5cmd": S5cmd(endpoint, f"s5cmd-{number}"),
            "rclone": Rclone(endpoint, f"rclone-{number}"),
        }
        for name, tool in tools.items():
            taken = {"up": measure(tool.upload(folder / "files"))}
            tool.expect(count)
            out = folder / "out"
            out.mkdir()
            taken["down"] = measure(tool.download(out))
            equal(folder / "files", out)
            taken["away"] = measure(tool.delete())
            tool.expect(0)
            if name == "civic":
                run(*tool.upload(folder / "files"))
                taken["away, to the trash"] = measure(tool.trash())
                tool.expect(0)
            shutil.rmtree(out)
            if number:
                for what, sample in taken.items():
                    samples[what].setdefault(name, []).append(sample)
        shutil.rmtree(folder / "civic")
        run(S5CMD, "--log", "error", "--endpoint-url", endpoint, "rm", f"s3://{BUCKET}/*")
    return samples


def tell(samples, aims):
    for what, aim in aims.items():
        rows = {name: Row(taken) for name, taken in samples[what].items()}
        civic = rows["civic"]
        peers = {name: row for name, row in rows.items() if name != "civic"}
        if not peers:
            print(f"  {what:<20} civic {civic.wall:.2f} s, {civic.memory}")
            continue
        name, fastest = min(peers.items(), key=lambda peer: peer[1].wall)
        ratio = civic.wall / fastest.wall
        medians = ", ".join(f"{name} {row.wall:.2f} s" for name, row in rows.items())
        verdict = "met" if ratio <= aim else "MISSED"
        print(f"  {what:<20} {ratio:5.2f} x {name}, the fastest (aim {aim}, {verdict}), "
              f"{civic.cpu / fastest.cpu:.2f} x its CPU; {medians}; {civic.memory}", flush=True)


class Civic:
    def __init__(self, folder, endpoint, prefix):
        self.database = folder / "civic.db"
        folder.mkdir()
        run(HERE / "generate", 0, folder / "nothing", self.database, "")
        provider = {"type": "s3", "bucket": BUCKET, "prefix": prefix, "endpoint": endpoint, "region": "us-east-1",
                    "options": {"force_path_style": True}}
        config = {
            "providers": {"bench": provider},
            "active_provider": "bench",
            "global": {"max_concurrent_downloads": AT_ONCE, "max_file_size": "1TB"},
            "folders": {"files": {"path": "files", "access": "private", "allowed_types": ["*"]}},
        }
        (folder / "storage.yml").write_text(json.dumps(config))
        self.base = [CIVIC, "--system-data", folder, "--database", f"sqlite:{self.database}", "--no-progress", "--yes"]
        self.many = ["--concurrency", AT_ONCE]

    def upload(self, what):
        return [*self.base, "storage:upload", "--folder", "files", "--recursive", *self.many, what]

    def download(self, out):
        return [*self.base, "storage:download", "--out", f"{out}/", *self.ids()]

    def delete(self):
        return [*self.trash(), "--purge"]

    def trash(self):
        return [*self.base, "storage:delete", *self.many, *self.ids()]

    def ids(self):
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM storage_files ORDER BY id")]

    def expect(self, count):
        usage = json.loads(run(*self.base, "--json", "storage:usage"))
        check("civic", usage["data"]["total"]["files"], count)


class S5cmd:
    def __init__(self, endpoint, prefix):
        self.place = f"s3://{BUCKET}/{prefix}/"
        self.quiet = [S5CMD, "--endpoint-url", endpoint, "--numworkers", AT_ONCE]
        self.base = [*self.quiet, "--log", "error"]

    def upload(self, what):
        return [*self.base, "cp", f"{what}/", self.place]

    def download(self, out):
        return [*self.base, "cp", f"{self.place}*", f"{out}/"]

    def delete(self):
        return [*self.base, "rm", f"{self.place}*"]

    def expect(self, count):
        if count:
            check("s5cmd", len(run(*self.quiet, "ls", f"{self.place}*").splitlines()), count)


class Rclone:
    def __init__(self, endpoint, prefix):
        remote = (f":s3,provider=SeaweedFS,endpoint='{endpoint}',access_key_id={KEYS['AWS_ACCESS_KEY_ID']},"
                  f"secret_access_key={KEYS['AWS_SECRET_ACCESS_KEY']},no_check_bucket=true:")
        self.place = f"{remote}{BUCKET}/{prefix}"
        self.base = [RCLONE, "--config=/dev/null", f"--transfers={AT_ONCE}", f"--checkers={AT_ONCE}"]

    def upload(self, what):
        return [*self.base, "copy", what, self.place]

    def download(self, out):
        return [*self.base, "copy", self.place, out]

    def delete(self):
        return [*self.base, "delete", self.place]

    def expect(self, count):
        check("rclone", len(run(*self.base, "lsf", self.place).splitlines()), count)


def check(name, found, expected):
    if found != expected:
        sys.exit(f"{name} has {found} files, where {expected} were to be")


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
