#!/usr/bin/env python3
"""A double of Google Cloud Storage for the tests: it follows Google's published protocol, as far as civic speaks it.

    python3 -B tests/servers/gcs PORT DIRECTORY

What is not listed here answers 501. The pages it was written after, at cloud.google.com/storage/docs:

- xml-api/put-object-upload, get-object-download, head-object, delete-object, reference-headers, reference-status
- xml-api/post-object-multipart, put-object-multipart, post-object-complete, delete-multipart, get-bucket-uploads
- json_api/v1/objects/list, get, delete, rewrite; json_api/v1/buckets/insert; json_api/v1/status-codes
- objects, metadata, hashes-etags, request-preconditions, range requests as in RFC 9110

and those named in access.py, state.py and tokens.py. It keeps objects in one location, names no CRC32C, and knows no versions but
the live one.

Under `/double/` tests ask for what no service offers: the service account's key file, a user's credentials, faults, a clock that is ahead,
rewrites that take several calls, and the requests that came.
"""

import base64
import http.server
import json
import re
import sys
import time
import urllib.parse
import xml.etree.ElementTree
from email.utils import formatdate
from xml.sax.saxutils import escape

import tokens
from access import Account
from state import MOST_PARTS, Body, Bucket, Refused, Store, Upload, failed_precondition, invalid

TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
PAGE = 1000
MOST_UPLOADS = 3  # on a page: few, so that the pages are turned
PROPERTIES = {
    "content-type": "contentType",
    "content-encoding": "contentEncoding",
    "content-disposition": "contentDisposition",
    "content-language": "contentLanguage",
    "cache-control": "cacheControl",
}
WRITABLE = {*PROPERTIES.values(), "storageClass", "metadata", "customTime"}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port, directory):
        super().__init__(("127.0.0.1", port), Handler)
        self.base = f"http://127.0.0.1:{port}"
        self.store, self.account = Store(directory), Account()
        self.tokens = tokens.Tokens(self.account, self.store.directory)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "UploadServer"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do(self):
        """Every request: its bucket, its faults, its permission, its answer."""
        self.json = False
        self.bucket = None
        self.cut = None
        self.unread = int(self.headers.get("content-length") or 0)
        path, _, query = self.path.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        try:
            self.route(path)
        except Refused as refused:
            self.refuse(refused)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

    def do_CONNECT(self):
        """Whoever has this double as a proxy gets to Google's token service, and nowhere else."""
        self.bucket, self.close_connection = None, True
        if self.path != f"{tokens.HOST}:443":
            return self.send_error(403)
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        self.server.tokens.serve(self.connection, self.client_address, self.server)

    def route(self, path):
        if path.startswith("/double/"):
            return self.double(path.removeprefix("/double/"))
        if path == TOKEN_PATH:
            return self.metadata_server()
        self.json = path.startswith("/storage/v1/")
        if self.json:
            parts = [urllib.parse.unquote(part) for part in path.removeprefix("/storage/v1/").split("/")]
        else:
            bucket, _, name = path[1:].partition("/")
            parts = [urllib.parse.unquote(bucket), urllib.parse.unquote(name)]
        self.enter(parts[1] if self.json and len(parts) > 1 else parts[0] if not self.json else None)
        if self.json:
            self.json_api(parts)
        else:
            self.xml_api(*parts)

    def enter(self, name):
        """Finds the bucket; a fault that a test asked for comes before anything else."""
        self.bucket = self.server.store.buckets.get(name)
        if self.bucket:
            with self.server.store.lock:
                self.bucket.requests.append(f"{self.command} {self.path}")
                fault = self.fault()
            if fault:
                time.sleep(fault.get("delay", 0))
                self.cut = fault.get("cut")
                if "status" in fault:
                    raise Refused(fault["status"], fault.get("code", "Injected"), "injected", "Asked for.")
        refusal = self.server.account.refusal(self.headers.get("authorization"))
        if refusal:
            raise Refused(401, "AuthenticationRequired", "authError", f"Invalid Credentials: {refusal}")
        if name and not self.bucket:
            raise Refused(404, "NoSuchBucket", "notFound", "The specified bucket does not exist.")

    def fault(self):
        for fault in self.bucket.faults:
            if fault.get("method", self.command) == self.command and re.search(fault.get("match", ""), self.path):
                if fault.get("after", 0) > 0:
                    fault["after"] -= 1
                elif fault.get("times", 1) > 0:
                    fault["times"] = fault.get("times", 1) - 1
                    return fault
        return None

    # The XML API.

    def xml_api(self, bucket, name):
        if not name:
            if self.command == "GET" and "uploads" in self.query:
                return self.list_uploads()
            raise self.unknown()
        if "uploads" in self.query and self.command == "POST":
            return self.initiate(name)
        if "uploadId" in self.query:
            upload = self.bucket.upload(name, self.query["uploadId"])
            act = {"PUT": self.put_part, "POST": self.complete, "DELETE": self.abort}.get(self.command)
        else:
            upload = name
            act = {"PUT": self.put, "GET": self.get, "HEAD": self.get, "DELETE": self.delete}.get(self.command)
        if act is None or "x-goog-copy-source" in self.headers:
            raise self.unknown()
        act(upload)

    def unknown(self):
        return Refused(501, "NotImplemented", "notImplemented", "This double does not know the request.")

    def put(self, name):
        body = self.receive()
        with self.server.store.lock:
            self.preconditions(name)
            stored = self.server.store.put(self.bucket, name, body, self.properties())
        self.answer(200, headers=self.described(stored, whole=False))

    def get(self, name):
        stored = self.bucket.object(name, self.query.get("generation"))
        self.conditions(stored)
        first, last = 0, stored.size - 1
        status, headers = 200, self.described(stored)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if asked and any(asked.groups()):
            first, last = span(*asked.groups(), stored.size)
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        with open(stored.file, "rb") as file:
            file.seek(first)
            self.answer(status, headers=headers, file=file, size=last + 1 - first)

    def conditions(self, stored):
        if self.headers.get("if-match", stored.etag) not in (stored.etag, "*"):
            raise failed_precondition()
        self.preconditions(stored.name)
        if self.headers.get("if-none-match") in (stored.etag, "*"):
            raise Refused(304, "NotModified", "notModified", "Not modified.")

    def delete(self, name):
        with self.server.store.lock:
            self.bucket.object(name)
            self.preconditions(name)
            self.server.store.delete(self.bucket, name)
        self.answer(204)

    def preconditions(self, name):
        header = lambda of: self.headers.get(f"x-goog-if-{of}-match")
        self.bucket.check(name, header("generation"), header("metageneration"))

    def initiate(self, name):
        upload = Upload(name, self.properties())
        with self.server.store.lock:
            self.bucket.uploads[upload.id] = upload
        inner = f"<Bucket>{self.bucket.name}</Bucket><Key>{escape(name)}</Key><UploadId>{upload.id}</UploadId>"
        self.answer_xml("InitiateMultipartUploadResult", inner)

    def put_part(self, upload):
        number = int(self.query.get("partNumber", 0))
        if not 1 <= number <= MOST_PARTS:
            raise invalid("InvalidArgument", "Invalid part number.")
        body = self.receive()
        with self.server.store.lock:
            if upload.id not in self.bucket.uploads:
                body.file.unlink(missing_ok=True)
            self.bucket.upload(upload.name, upload.id).parts[number] = body
        md5 = base64.b64encode(body.md5).decode()
        self.answer(200, headers={"ETag": f'"{body.md5.hex()}"', "x-goog-hash": f"md5={md5}"})

    def complete(self, upload):
        try:
            tree = xml.etree.ElementTree.fromstring(self.receive_small())
            parts = [part for part in tree if part.tag.rpartition("}")[2] == "Part"]
            texts = [{e.tag.rpartition("}")[2]: e.text for e in part} for part in parts]
            wanted = [(int(text["PartNumber"]), text["ETag"]) for text in texts]
        except (xml.etree.ElementTree.ParseError, KeyError, ValueError):
            raise invalid("MalformedCompleteMultipartUploadRequest", "The request is no list of parts.") from None
        with self.server.store.lock:
            self.preconditions(upload.name)
            stored = self.server.store.complete(self.bucket, upload, wanted)
        inner = f"<Bucket>{self.bucket.name}</Bucket><Key>{escape(stored.name)}</Key><ETag>{stored.etag}</ETag>"
        headers = {"x-goog-generation": str(stored.generation), "x-goog-metageneration": "1"}
        self.answer_xml("CompleteMultipartUploadResult", inner, headers)

    def abort(self, upload):
        with self.server.store.lock:
            self.server.store.abort(self.bucket, upload)
        self.answer(204)

    def list_uploads(self):
        asked = lambda name: self.query.get(name, "")
        encoded = (lambda name: urllib.parse.quote(name, safe="/")) if asked("encoding-type") == "url" else escape
        most = min(int(self.query.get("max-uploads", MOST_UPLOADS)), MOST_UPLOADS)
        after = (asked("key-marker"), asked("upload-id-marker") or "\uffff")
        found = sorted((u.name, u.id, u.initiated) for u in self.bucket.uploads.values() if u.name.startswith(asked("prefix")))
        found = [upload for upload in found if not asked("key-marker") or upload[:2] > after]
        entries = "".join(
            f"<Upload><Key>{encoded(name)}</Key><UploadId>{id}</UploadId><StorageClass>STANDARD</StorageClass>"
            f"<Initiated>{stamp(initiated)}</Initiated></Upload>"
            for name, id, initiated in found[:most]
        )
        more = len(found) > most
        inner = f"<Bucket>{self.bucket.name}</Bucket><MaxUploads>{most}</MaxUploads><IsTruncated>{str(more).lower()}</IsTruncated>"
        if asked("encoding-type"):
            inner += f"<EncodingType>{asked('encoding-type')}</EncodingType>"
        if more:
            name, id, _ = found[most - 1]
            inner += f"<NextKeyMarker>{encoded(name)}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>"
        self.answer_xml("ListMultipartUploadsResult", inner + entries)

    def properties(self):
        """What a request's headers say of the object."""
        found = {key: self.headers[name] for name, key in PROPERTIES.items() if name in self.headers}
        if "x-goog-storage-class" in self.headers:
            found["storageClass"] = self.headers["x-goog-storage-class"]
        prefix = "x-goog-meta-"
        metadata = {k.lower().removeprefix(prefix): v for k, v in self.headers.items() if k.lower().startswith(prefix)}
        return found | ({"metadata": metadata} if metadata else {})

    def described(self, stored, whole=True):
        md5 = base64.b64encode(stored.md5).decode()
        headers = {
            "ETag": stored.etag,
            "x-goog-generation": str(stored.generation),
            "x-goog-metageneration": str(stored.metageneration),
            "x-goog-stored-content-encoding": stored.properties.get("contentEncoding", "identity"),
            "x-goog-stored-content-length": str(stored.size),
        }
        if not stored.components:
            headers["x-goog-hash"] = f"md5={md5}"
        if whole:
            headers["Last-Modified"] = formatdate(stored.updated, usegmt=True)
            headers["Accept-Ranges"] = "bytes"
            headers["x-goog-storage-class"] = stored.properties["storageClass"]
            headers |= {name.title(): stored.properties[key] for name, key in PROPERTIES.items() if key in stored.properties}
            headers.setdefault("Content-Type", "application/octet-stream")
            headers |= {f"x-goog-meta-{k}": v for k, v in stored.properties.get("metadata", {}).items()}
        return headers

    # The JSON API.

    def json_api(self, parts):
        match (self.command, *parts):
            case ("POST", "b"):
                self.insert_bucket()
            case ("GET", "b", _, "o"):
                self.list_objects()
            case ("GET", "b", _, "o", name):
                self.answer_json(self.resource(self.bucket.object(name, self.query.get("generation"))))
            case ("DELETE", "b", _, "o", name):
                self.delete_json(name)
            case ("POST", "b", _, "o", source, "rewriteTo", "b", bucket, "o", target) if bucket == self.bucket.name:
                self.rewrite(source, target)
            case _:
                raise self.unknown()

    def insert_bucket(self):
        asked = json.loads(self.receive_small())
        if "project" not in self.query:
            raise Refused(400, "", "required", "Required parameter: project")
        with self.server.store.lock:
            if asked["name"] in self.server.store.buckets:
                raise Refused(409, "", "conflict", "Your previous request to create the named bucket succeeded.")
            self.server.store.buckets[asked["name"]] = Bucket(asked["name"], asked.get("storageClass", "STANDARD"))
        self.answer_json({"kind": "storage#bucket", "name": asked["name"]})

    def list_objects(self):
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        start, end = self.query.get("startOffset", ""), self.query.get("endOffset")
        most = min(int(self.query.get("maxResults", PAGE)), PAGE)
        after = self.page_start()
        items, prefixes, last, more = [], [], None, False
        with self.server.store.lock:
            # Code points and UTF-8 have one order.
            names = sorted(n for n in self.bucket.objects if n.startswith(prefix) and n >= start)
            for name in names:
                if end and name >= end:
                    break
                inner = name[len(prefix):]
                cut = inner.find(delimiter) if delimiter else -1
                shown = name if cut < 0 else prefix + inner[: cut + len(delimiter)]
                if after is not None and (name <= after or shown <= after) or shown == last:
                    continue
                if len(items) + len(prefixes) == most:
                    more = True
                    break
                last = shown
                if cut < 0:
                    items.append(self.resource(self.bucket.objects[name]))
                else:
                    prefixes.append(shown)
        page = {"kind": "storage#objects"}
        if more:
            page["nextPageToken"] = base64.urlsafe_b64encode(last.encode()).decode()
        page |= {"prefixes": prefixes} if prefixes else {}
        page |= {"items": items} if items else {}
        self.answer_json(page)

    def page_start(self):
        token = self.query.get("pageToken")
        try:
            return None if token is None else base64.urlsafe_b64decode(token).decode()
        except ValueError:
            raise invalid("", "Invalid page token.") from None

    def delete_json(self, name):
        with self.server.store.lock:
            self.bucket.object(name, self.query.get("generation"))
            self.bucket.check(name, self.query.get("ifGenerationMatch"), self.query.get("ifMetagenerationMatch"))
            self.server.store.delete(self.bucket, name)
        self.answer(204)

    def rewrite(self, source, target):
        """In one call as within one location and class, or in several where a test asked for steps."""
        asked = json.loads(self.receive_small() or b"{}")
        with self.server.store.lock:
            found = self.bucket.object(source, self.query.get("sourceGeneration"))
            of_source = [self.query.get(f"ifSource{of}Match") for of in ("Generation", "Metageneration")]
            self.bucket.check(source, *of_source)
            self.bucket.check(target, self.query.get("ifGenerationMatch"), self.query.get("ifMetagenerationMatch"))
            done = self.progress_of(source, target, found)
            answer = {
                "kind": "storage#rewriteResponse",
                "objectSize": str(found.size),
                "totalBytesRewritten": str(done),
                "done": done == found.size,
            }
            if done == found.size:
                properties = {k: v for k, v in asked.items() if k in WRITABLE} or dict(found.properties)
                if not asked:
                    properties.pop("storageClass", None)
                answer["resource"] = self.resource(self.server.store.copy(self.bucket, found, target, properties))
            else:
                token = base64.urlsafe_b64encode(f"{len(self.bucket.rewrites)}:{done}".encode()).decode()
                self.bucket.rewrites[token] = (source, found.generation, target, done)
                answer["rewriteToken"] = token
        self.answer_json(answer)

    def progress_of(self, source, target, found):
        before, token = 0, self.query.get("rewriteToken")
        if token is not None:
            if token not in self.bucket.rewrites:
                raise invalid("", "Invalid rewrite token.")
            *same, before = self.bucket.rewrites[token]
            if same != [source, found.generation, target]:
                raise invalid("", "The rewrite token is for another rewrite.")
        return min(found.size, before + self.bucket.settings.get("rewriteStep", found.size))

    def resource(self, stored):
        return {
            "kind": "storage#object",
            "id": f"{self.bucket.name}/{stored.name}/{stored.generation}",
            "name": stored.name,
            "bucket": self.bucket.name,
            "generation": str(stored.generation),
            "metageneration": str(stored.metageneration),
            "size": str(stored.size),
            "timeCreated": stamp(stored.created),
            "updated": stamp(stored.updated),
            "etag": stored.json_etag,
            **({"componentCount": stored.components} if stored.components else
               {"md5Hash": base64.b64encode(stored.md5).decode()}),
            **stored.properties,
        }

    # What goes in and out.

    def receive(self):
        body = Body(self.server.store.new_file())
        length = self.headers.get("content-length")
        if length is None:
            raise Refused(411, "MissingContentLength", "required", "You must provide the Content-Length header.")
        body.size = int(length)
        with open(body.file, "wb") as file:
            while self.unread:
                chunk = self.rfile.read(min(self.unread, 1 << 20))
                if not chunk:
                    body.file.unlink()
                    raise ConnectionResetError
                self.unread -= len(chunk)
                body.hash.update(chunk)
                file.write(chunk)
        wanted = self.headers.get("content-md5")
        if wanted and wanted != base64.b64encode(body.md5).decode():
            body.file.unlink()
            raise invalid("BadDigest", "The Content-MD5 you specified did not match what we received.")
        return body

    def receive_small(self):
        body, self.unread = self.rfile.read(self.unread), 0
        return body

    def refuse(self, refused):
        if self.json:
            one = {"message": refused.message, "domain": "global", "reason": refused.reason}
            body = json.dumps({"error": {"code": refused.status, "message": refused.message, "errors": [one]}})
            return self.answer(refused.status, body.encode(), {"Content-Type": "application/json; charset=UTF-8"})
        message = f"<Message>{escape(refused.message)}</Message>"
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{refused.code}</Code>{message}</Error>"
        headers = {"Content-Type": "application/xml; charset=UTF-8"}
        return self.answer(refused.status, body.encode(), headers)

    def answer_json(self, value):
        """Only the fields that were asked for; source: "Partial response"."""
        if self.query.get("fields"):
            value = select(value, fields(self.query["fields"]))
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def answer_xml(self, root, inner, headers=None):
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = f"<?xml version='1.0' encoding='UTF-8'?><{root} xmlns='{namespace}'>{inner}</{root}>"
        self.answer(200, body.encode(), {"Content-Type": "application/xml; charset=UTF-8"} | (headers or {}))

    def answer(self, status, body=b"", headers=None, file=None, size=None):
        # What nobody read would be taken for the next request.
        while self.unread > 0 and (rest := self.rfile.read(min(self.unread, 1 << 20))):
            self.unread -= len(rest)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body) if file is None else size))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut is not None:
            self.close_connection = True
        most = self.cut if self.cut is not None else sys.maxsize
        if file is None:
            self.wfile.write(body[:most])
        else:
            self.copy(file, min(size, most))

    def copy(self, file, size):
        while size > 0 and (chunk := file.read(min(size, 1 << 20))):
            size -= len(chunk)
            self.wfile.write(chunk)

    def date_time_string(self, timestamp=None):
        ahead = self.bucket.settings.get("clockAhead", 0) if getattr(self, "bucket", None) else 0
        return formatdate((timestamp or time.time()) + ahead, usegmt=True)

    def log_message(self, form, *values):
        pass

    # What only tests ask for.

    def metadata_server(self):
        if self.headers.get("metadata-flavor") != "Google":
            return self.answer(403)
        body = json.dumps(self.server.account.issue()).encode()
        return self.answer(200, body, {"Content-Type": "application/json", "Metadata-Flavor": "Google"})

    def double(self, what):
        self.json = True
        if what == "service-account.json":
            return self.answer_json(self.server.account.key_file(self.server.base))
        if what == "user.json":
            return self.answer_json(self.server.tokens.user)
        if what == "tokens.pem":
            return self.answer(200, self.server.tokens.certificate.encode())
        what, _, name = what.partition("/")
        bucket = self.server.store.bucket(urllib.parse.unquote(name))
        with self.server.store.lock:
            match what:
                case "faults":
                    bucket.faults = json.loads(self.receive_small())
                case "settings":
                    bucket.settings = json.loads(self.receive_small())
                case "requests":
                    return self.answer_json(bucket.requests)
        return self.answer(204)


def span(first, last, size):
    """The first and last byte of a range; source: RFC 9110, section 14."""
    if first:
        found = int(first), min(int(last or size - 1), size - 1)
    else:
        found = max(size - int(last), 0), size - 1
    if found[0] >= size or found[0] > found[1]:
        raise Refused(416, "InvalidRange", "requestedRangeNotSatisfiable", "The requested range cannot be satisfied.")
    return found


def stamp(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"


def fields(text):
    """`a,b(c,d)` as `{"a": {}, "b": {"c": {}, "d": {}}}`."""
    open_levels, current = [{}], ""
    for token in re.findall(r"[\w*]+|[(),/]", text):
        if token in "(/":
            open_levels.append(open_levels[-1][current])
        elif token == ")":
            open_levels.pop()
        elif token != ",":
            current = token
            open_levels[-1][current] = {}
    return open_levels[0]


def select(value, wanted):
    if not wanted:
        return value
    if isinstance(value, list):
        return [select(item, wanted) for item in value]
    return {key: select(value[key], inner) for key, inner in wanted.items() if key in value}


if __name__ == "__main__":
    Server(int(sys.argv[1]), sys.argv[2]).serve_forever()
