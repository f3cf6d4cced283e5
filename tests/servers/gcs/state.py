"""What is stored: buckets, objects with their generations, multipart uploads. Bytes lie in files, names in memory.

Follows cloud.google.com/storage/docs: "Objects" (names, generations), "Object metadata", "Hashes and ETags",
"Request preconditions", "XML API multipart uploads", "Quotas and limits".
"""

import base64
import hashlib
import pathlib
import secrets
import shutil
import threading
import time

SMALLEST_PART = 5 << 20
MOST_PARTS = 10_000
MOST_METADATA = 8 << 10
CLASSES = {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}


class Refused(Exception):
    """An error of the service: HTTP status, code of the XML API, reason of the JSON API, message."""

    def __init__(self, status, code, reason, message):
        super().__init__(message)
        self.status, self.code, self.reason, self.message = status, code, reason, message


def no_bucket():
    return Refused(404, "NoSuchBucket", "notFound", "The specified bucket does not exist.")


def no_object(bucket, name):
    return Refused(404, "NoSuchKey", "notFound", f"No such object: {bucket}/{name}")


def no_upload():
    return Refused(404, "NoSuchUpload", "notFound", "The requested upload was not found.")


def invalid(code, message):
    return Refused(400, code, "invalid", message)


def failed_precondition():
    message = "At least one of the pre-conditions you specified did not hold."
    return Refused(412, "PreconditionFailed", "conditionNotMet", message)


class Object:
    def __init__(self, name, body, properties):
        self.name, self.file, self.size, self.md5 = name, body.file, body.size, body.md5
        self.generation, self.metageneration = next_generation(), 1
        self.created = self.updated = time.time()
        self.properties = properties
        self.components = 0

    @property
    def json_etag(self):
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()

    @property
    def etag(self):
        """Of the XML API: the MD5, but not for what was put together from parts."""
        return f'"{"-" + self.json_etag if self.components else self.md5.hex()}"'


class Body:
    """Bytes that arrived, in a file of their own."""

    def __init__(self, file):
        self.file, self.size = file, 0
        self.hash = hashlib.md5(usedforsecurity=False)

    @property
    def md5(self):
        return self.hash.digest()


class Upload:
    def __init__(self, name, properties):
        self.id, self.name, self.properties = secrets.token_urlsafe(24), name, properties
        self.parts, self.initiated = {}, time.time()


class Bucket:
    def __init__(self, name, storage_class):
        self.name, self.storage_class = name, storage_class
        self.objects, self.uploads = {}, {}
        self.rewrites = {}
        # What a test asked for.
        self.faults, self.settings, self.requests = [], {}, []

    def object(self, name, generation=None):
        found = self.objects.get(name)
        if found is None or generation not in (None, str(found.generation)):
            raise no_object(self.name, name)
        return found

    def upload(self, name, upload_id):
        found = self.uploads.get(upload_id)
        if found is None or found.name != name:
            raise no_upload()
        return found

    def check(self, name, generation, metageneration):
        """`None` asks for nothing, `0` for no live object; source: "Request preconditions"."""
        live = self.objects.get(name)
        for wanted, found in (
            (generation, live.generation if live else 0),
            (metageneration, live.metageneration if live else 0),
        ):
            if wanted is not None and wanted != str(found):
                raise failed_precondition()


class Store:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.buckets, self.lock = {}, threading.Lock()

    def bucket(self, name):
        if name not in self.buckets:
            raise no_bucket()
        return self.buckets[name]

    def new_file(self):
        return self.directory / secrets.token_hex(16)

    def put(self, bucket, name, body, properties):
        check_name(name)
        check_properties(properties)
        stored = Object(name, body, {"storageClass": bucket.storage_class} | properties)
        self._replace(bucket, stored)
        return stored

    def _replace(self, bucket, stored):
        old = bucket.objects.get(stored.name)
        bucket.objects[stored.name] = stored
        if old is not None:
            old.file.unlink(missing_ok=True)

    def delete(self, bucket, name):
        bucket.object(name).file.unlink(missing_ok=True)
        del bucket.objects[name]

    def copy(self, bucket, source, name, properties):
        check_name(name)
        check_properties(properties)
        body = Body(self.new_file())
        shutil.copyfile(source.file, body.file)
        copied = Object(name, body, {"storageClass": bucket.storage_class} | properties)
        copied.size, copied.md5, copied.components = source.size, source.md5, source.components
        self._replace(bucket, copied)
        return copied

    def complete(self, bucket, upload, wanted):
        """`wanted`: numbers and ETags, as the request has them."""
        if not wanted:
            raise invalid("MalformedCompleteMultipartUploadRequest", "No parts.")
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise invalid("InvalidPartOrder", "The parts are not in ascending order.")
        body = Body(self.new_file())
        with open(body.file, "wb") as out:
            for at, (number, etag) in enumerate(wanted):
                part = upload.parts.get(number)
                if part is None or etag.strip('"') != part.md5.hex():
                    raise invalid("InvalidPart", f"Part {number} was not found, or its ETag is another.")
                if at + 1 < len(wanted) and part.size < SMALLEST_PART:
                    raise invalid("EntityTooSmall", f"Part {number} is too small.")
                with open(part.file, "rb") as source:
                    shutil.copyfileobj(source, out, 1 << 20)
                body.size += part.size
        stored = Object(upload.name, body, {"storageClass": bucket.storage_class} | upload.properties)
        stored.components = len(wanted)
        self._replace(bucket, stored)
        self.abort(bucket, upload)
        return stored

    def abort(self, bucket, upload):
        for part in upload.parts.values():
            part.file.unlink(missing_ok=True)
        del bucket.uploads[upload.id]


def check_name(name):
    size = len(name.encode())
    odd = name in (".", "..") or name.startswith(".well-known/acme-challenge/") or {"\r", "\n"} & set(name)
    if not 1 <= size <= 1024 or odd:
        raise invalid("InvalidObjectName", "The specified object name is not valid.")


def check_properties(properties):
    if properties.get("storageClass", "STANDARD") not in CLASSES:
        raise invalid("InvalidStorageClass", "Invalid storage class.")
    used = sum(len(k.encode()) + len(v.encode()) for k, v in properties.get("metadata", {}).items())
    if used > MOST_METADATA:
        raise invalid("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")


_last, _generations = 0, threading.Lock()


def next_generation():
    """Microseconds, and never the same twice."""
    global _last
    with _generations:
        _last = max(_last + 1, int(time.time() * 1e6))
        return _last
