"""How a comparison of storage and database compares to its peers at scale: ratios, and peak memory.

What a peer does is less than what civic does (`s5cmd ls` and `find` only list), so the ratios are upper bounds of the
price of a comparison. Every answer of civic is checked against the drift that was planted.
"""

import json
import os
import shutil
import sys

from bench import CIVIC, ENVIRONMENT, HERE, KEYS, ROOT, ROUNDS, S5CMD, heading, run, take_turns

JUICEFS = ROOT / "target/bench-tools/bin/juicefs"
COUNT = int(os.environ.get("COUNT", 100_000))
LOCAL_COUNT = int(os.environ.get("LOCAL_COUNT", 1_000_000))
DRIFT = 10
MIB_LIMIT = 64


def main(scratch):
    start_up(scratch)
    on_s3(scratch / "s3", os.environ["CIVIC_TEST_SEAWEED"])
    on_disk(scratch / "disk")
    at_scale(scratch / "scale")


def start_up(scratch):
    """A small deployment: what a shell or a cron line waits for."""
    heading("Start-up, the fixture of 66 records")
    archive = ROOT / "tests/fixtures/civicpress-local.tar.gz"
    run("tar", "--extract", "--gzip", "--no-same-owner", "--file", archive, "--directory", scratch)
    data = scratch / "civicpress-local/.system-data"
    usage = [CIVIC, "--system-data", data, "--database", f"sqlite:{data}/civic.db", "storage:usage"]
    rows = take_turns({"/bin/true": ["/bin/true"], "civic --version": [CIVIC, "--version"], "usage": usage}, 40)
    nothing = rows.pop("/bin/true")
    for name, row in rows.items():
        extra = (row.wall - nothing.wall) * 1000
        print(f"  {name:<28} {row.wall / nothing.wall:6.2f} x /bin/true, {extra:.1f} ms over it; {row.memory}")


def on_s3(folder, endpoint):
    heading(f"S3 (SeaweedFS), {COUNT:,} objects and records")
    database = deployment(folder, COUNT, "s3://bench/town/", {
        "type": "s3", "bucket": "bench", "prefix": "town", "endpoint": endpoint, "region": "us-east-1",
        "options": {"force_path_style": True},
    })
    s5cmd = [S5CMD, "--log", "error", "--endpoint-url", endpoint]
    run(*s5cmd, "mb", "s3://bench")
    run(*s5cmd, "cp", f"{folder}/files/*", "s3://bench/town/")
    volume = juicefs_volume(folder, "s3", f"{endpoint}/juicefs", *key_flags())
    compare(take_turns({
        "civic": cleanup(folder, database),
        "juicefs gc": [JUICEFS, "gc", volume],
        "s5cmd ls": [S5CMD, "--endpoint-url", endpoint, "ls", "s3://bench/town/*"],
    }, ROUNDS), {"juicefs gc": 1.0, "s5cmd ls": 1.3})
    shutil.rmtree(folder)


def on_disk(folder):
    heading(f"Local disk, {COUNT:,} files and records")
    database = deployment(folder, COUNT, f"{folder}/files/", {"type": "local", "path": f"{folder}/files"})
    volume = juicefs_volume(folder, "file", f"{folder}/objects/")
    compare(take_turns({
        "civic": cleanup(folder, database),
        "juicefs gc": [JUICEFS, "gc", volume],
    }, ROUNDS), {"juicefs gc": 1.0})
    shutil.rmtree(folder)


def at_scale(folder):
    heading(f"Local disk, {LOCAL_COUNT:,} files and records")
    database = deployment(folder, LOCAL_COUNT, f"{folder}/files/", {"type": "local", "path": f"{folder}/files"})
    compare(take_turns({
        "civic": cleanup(folder, database),
        "find": ["find", folder / "files", "-type", "f", "-printf", r"%s %T@ %p\n"],
    }, ROUNDS), {"find": 2.0})
    shutil.rmtree(folder)


def deployment(folder, count, root, provider):
    """Files, database and storage.yml; JSON is YAML."""
    folder.mkdir()
    database = folder / "civic.db"
    run(HERE / "generate", count, folder / "files", database, root)
    config = {"providers": {"bench": {**provider, "enabled": True}}, "active_provider": "bench"}
    (folder / "storage.yml").write_text(json.dumps(config))
    return database


def juicefs_volume(folder, storage, bucket, *flags):
    """A juicefs volume that holds the same files, one object each."""
    volume = f"sqlite3://{folder}/juicefs.db"
    run(JUICEFS, "format", volume, "bench", "--storage", storage, "--bucket", bucket, "--trash-days", "0", *flags)
    run(JUICEFS, "sync", "--threads", "20", f"{folder}/files/", "jfs://VOLUME/", VOLUME=volume)
    return volume


def key_flags():
    return "--access-key", KEYS["AWS_ACCESS_KEY_ID"], "--secret-key", KEYS["AWS_SECRET_ACCESS_KEY"]


def cleanup(folder, database):
    command = [
        CIVIC, "--system-data", folder, "--database", f"sqlite:{database}", "--json", "--no-progress",
        "storage:cleanup", "--dry-run", "--min-age", "0",
    ]
    check_findings(json.loads(run(*command)))
    return command


def check_findings(envelope):
    """A fast wrong answer is worth nothing."""
    counts = envelope["data"]["counts"]
    drift = counts.pop("orphanedObjects"), counts.pop("orphanedRecords")
    if drift != (DRIFT, DRIFT) or any(counts.values()):
        sys.exit(f"civic found the wrong drift: {drift} and {counts}")


def compare(rows, aims):
    civic = rows["civic"]
    for peer, aim in aims.items():
        wall, cpu = civic.wall / rows[peer].wall, civic.cpu / rows[peer].cpu
        verdict = "met" if wall <= aim else "MISSED"
        print(f"  civic : {peer:<12} {wall:5.2f} x the time (aim {aim}, {verdict}), {cpu:.2f} x the CPU")
    verdict = "met" if civic.mib <= MIB_LIMIT else "MISSED"
    others = ", ".join(f"{peer} {rows[peer].mib:.1f}" for peer in aims)
    print(f"  civic's memory        {civic.memory} (aim {MIB_LIMIT}, {verdict}; {others})")
    print("  medians               " + ", ".join(f"{name} {row.wall:.2f} s" for name, row in rows.items()), flush=True)
