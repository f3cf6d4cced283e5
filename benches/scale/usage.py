"""What usage costs at scale: as it is made, and as it is given again; beside itself on a tenth of the records, and beside
SQLite adding up the table by folder, which is all that can be done without the indexes that civic makes."""

import contextlib
import os
import shutil
import sqlite3
import sys

from bench import ROUNDS, check, heading, run, take_turns
from civic import Civic

RECORDS = int(os.environ.get("RECORDS", 1_000_000))
FILL = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1),
    files (id, n, folder) AS MATERIALIZED (
        SELECT lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
            || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), n, 'folder-' || n % 7 FROM numbers)
    INSERT INTO storage_files SELECT id, n || '.pdf', n || '_' || id || '.pdf', folder, folder || '/' || n || '_' || id
        || '.pdf', ?2 || folder || '/' || n || '_' || id || '.pdf', abs(random()) % 1000000, 'application/pdf', NULL,
        'clerk-' || n % 5, datetime('2024-01-01', (n % 900) || ' days'), '2024-01-01 00:00:00' FROM files"""
PEER = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT folder, count(*), sum(size) FROM storage_files NOT INDEXED GROUP BY folder').fetchall()"
ALL = ["--by", "folder,provider,type,month,uploader"]


def main(scratch):
    heading(f"Usage, {RECORDS:,} records, and a tenth of them")
    large, small = deployment(scratch / "usage", RECORDS), deployment(scratch / "usage-small", RECORDS // 10)
    usage = lambda civic, *more: [*civic.base, "storage:usage", *more]
    rows = take_turns({
        "sqlite": [sys.executable, "-c", PEER, large.database],
        "fresh": usage(large, "--refresh"),
        "fresh, a tenth": usage(small, "--refresh"),
        "kept": usage(large),
        "kept, a tenth": usage(small),
        "by all, fresh": usage(large, "--refresh", *ALL),
    }, ROUNDS)
    for name, row in rows.items():
        print(f"  {name:<28} {row.wall * 1000:8.1f} ms; {row.memory}")
    for name, peer, bar in [
        ("fresh", "sqlite", 1.0), ("fresh", "fresh, a tenth", 11.0), ("kept", "kept, a tenth", 1.5), ("kept", "fresh", 0.2),
    ]:
        ratio = rows[name].wall / rows[peer].wall
        print(f"  {name:<28} {ratio:6.2f} x {peer} (bar {bar}){'' if ratio <= bar else '  MISSED'}")
    shutil.rmtree(scratch / "usage")
    shutil.rmtree(scratch / "usage-small")


def deployment(folder, count):
    civic = Civic(folder, {"type": "local", "path": str(folder / "files")}, 5)
    (folder / "files").mkdir()
    with contextlib.closing(sqlite3.connect(civic.database)) as connection, connection:
        connection.execute("DELETE FROM storage_files")
        connection.execute(FILL, (count - 1, f"{folder}/files/"))
    (folder / "one.txt").write_text("one")
    run(*civic.upload(folder / "one.txt"))  # a command that writes makes the indexes
    civic.expect(count)
    return civic
