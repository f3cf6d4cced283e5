"""civic as the benches run it: a deployment of one provider and one folder, and the commands on it."""

import contextlib
import json
import sqlite3

from bench import CIVIC, HERE, check, run


class Civic:
    def __init__(self, folder, provider, at_once):
        self.database = folder / "civic.db"
        folder.mkdir()
        run(HERE / "generate", 0, folder / "nothing", self.database, "")
        config = {
            "providers": {"bench": provider},
            "active_provider": "bench",
            "global": {"max_concurrent_downloads": at_once, "max_connections_per_provider": at_once, "max_file_size": "1TB"},
            "folders": {"files": {"path": "files", "access": "private", "allowed_types": ["*"]}},
        }
        (folder / "storage.yml").write_text(json.dumps(config))
        self.base = [CIVIC, "--system-data", folder, "--database", f"sqlite:{self.database}", "--no-progress", "--yes"]
        self.many = ["--concurrency", at_once]

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
