"""The most memory that one large file takes, up and down, on each provider: the same for any size."""

import json
import os
import shutil
import urllib.request

from bench import S5CMD, heading, measure, run
from civic import Civic
from transfer import RCLONE

SIZES = [int(gib) for gib in os.environ.get("GIB", "1 5").split()]
MOST = 128
APART = 1.1
NAME = "memory"
ACCOUNT = "devstoreaccount1"  # Azurite's, and its key: Microsoft publishes both
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def main(scratch):
    heading(f"Peak memory of one file of {' and of '.join(map(str, SIZES))} GiB")
    for name, make in {"local": local, "s3": s3, "azure": azure, "gcs": gcs}.items():
        provider = make(scratch / "storage")
        peaks = {"up": [], "down": []}
        for gib in SIZES:
            # A place of its own for each: whose the other is, is written down there.
            place = provider | ({"path": f"{provider['path']}/{gib}"} if name == "local" else {"prefix": str(gib)})
            for way, mib in one(scratch / f"{name}-{gib}", place, gib).items():
                peaks[way].append(mib)
        for way, taken in peaks.items():
            met = max(taken) <= MOST and max(taken) <= APART * min(taken)
            told = ", ".join(f"{mib:.1f} MiB" for mib in taken)
            print(f"  {name:<6} {way:<5} {told} (aim {MOST} MiB and within 10 %, {'met' if met else 'MISSED'})", flush=True)


def one(folder, provider, gib):
    """Peak MiB of one file up, and of it down; nothing of it stays."""
    civic = Civic(folder, provider, at_once=4)
    file = folder / "large.bin"
    with open(file, "wb") as sparse:
        sparse.truncate(gib << 30)
    peaks = {"up": measure(civic.upload(file))[2] / 1024}
    file.unlink()
    (folder / "out").mkdir()
    peaks["down"] = measure(civic.download(folder / "out"))[2] / 1024
    if (folder / "out/large.bin").stat().st_size != gib << 30:
        raise SystemExit("it came back with another size")
    run(*civic.delete())
    shutil.rmtree(folder)
    return peaks


def local(folder):
    for gib in SIZES:
        (folder / str(gib)).mkdir(parents=True)
    return {"type": "local", "path": str(folder)}


def s3(_):
    endpoint = os.environ["CIVIC_TEST_SEAWEED"]
    run(S5CMD, "--log", "error", "--endpoint-url", endpoint, "mb", f"s3://{NAME}")
    return {"type": "s3", "bucket": NAME, "endpoint": endpoint, "region": "us-east-1", "options": {"force_path_style": True}}


def azure(_):
    endpoint = os.environ["CIVIC_TEST_AZURITE"]
    remote = f":azureblob,account={ACCOUNT},key='{KEY}',endpoint='{endpoint}/{ACCOUNT}':{NAME}"
    run(RCLONE, "--config=/dev/null", "mkdir", remote)
    return {"type": "azure", "account_name": ACCOUNT, "container_name": NAME, "endpoint": endpoint,
            "credentials": {"account_key": KEY}}


def gcs(_):
    endpoint = os.environ["CIVIC_TEST_GCS"]

    def ask(path, body=None, **headers):
        request = urllib.request.Request(endpoint + path, body, {"Metadata-Flavor": "Google", **headers})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    token = json.loads(ask("/computeMetadata/v1/instance/service-accounts/default/token"))["access_token"]
    ask("/storage/v1/b?project=civic-bench", json.dumps({"name": NAME}).encode(), Authorization=f"Bearer {token}")
    key = ask("/double/service-account.json").decode()
    return {"type": "gcs", "bucket": NAME, "endpoint": endpoint, "credentials": {"service_account_key": key}}
