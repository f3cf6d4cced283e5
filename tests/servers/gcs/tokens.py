"""Google's token service, which gives a user's programs their tokens: behind a proxy that a test names, with a certificate
that the test trusts.

Follows:
- "How Application Default Credentials works" (cloud.google.com/docs/authentication/application-default-credentials) and
  AIP-4113 (google.aip.dev/auth/4113): what `gcloud auth application-default login` leaves, and what is done with it.
- "Refreshing an access token" (developers.google.com/identity/protocols/oauth2/web-server) and RFC 6749 section 6.
- RFC 9110 section 9.3.6: CONNECT. RFC 5280: the certificate.
"""

import base64
import http.server
import json
import secrets
import ssl
import time
import urllib.parse

from access import der, integer

HOST = "accounts.google.com"
PATH = "/o/oauth2/token"
DAY = 86_400  # seconds


class Tokens:
    """The service, with one user."""

    def __init__(self, account, directory):
        self.account = account
        self.user = {
            "type": "authorized_user",
            "account": "",
            "client_id": "100000000000-civic.apps.googleusercontent.com",
            "client_secret": f"d-{secrets.token_hex(12)}",
            "refresh_token": f"1//{secrets.token_urlsafe(48)}",
            "universe_domain": "googleapis.com",
        }
        self.certificate = pem("CERTIFICATE", certificate(account))
        file = directory / "tokens.pem"
        file.write_text(self.certificate + pem("PRIVATE KEY", account.pkcs8()))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(file)

    def serve(self, connection, address, server):
        """One connection through the proxy, to its end."""
        with self.context.wrap_socket(connection, server_side=True) as inside:
            Handler(inside, address, server)

    def answer(self, form):
        """Status and answer."""
        asked = {"grant_type": "refresh_token"} | {
            field: self.user[field] for field in ("client_id", "client_secret", "refresh_token")
        }
        if form == asked:
            return 200, self.account.issue()
        return 400, {"error": "invalid_grant", "error_description": "Bad Request"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        status, answer = 404, {}
        if self.path == PATH and self.headers.get("host") == HOST:
            status, answer = self.server.tokens.answer(dict(urllib.parse.parse_qsl(body)))
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        pass


def certificate(account):
    """For the host, signed by itself, good for a day."""
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d01010b0500"))  # sha256WithRSAEncryption
    name = der(0x30, der(0x31, der(0x30, bytes.fromhex("0603550403") + der(0x0C, HOST.encode()))))
    begin, end = (time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + s)).encode() for s in (-DAY, DAY))
    alternative = der(0x30, der(0x82, HOST.encode()))
    extension = der(0x30, bytes.fromhex("0603551d11") + der(0x04, alternative))
    to_be_signed = der(0x30, b"".join([
        der(0xA0, integer(2)),
        integer(secrets.randbits(64)),
        algorithm,
        name,
        der(0x30, der(0x17, begin) + der(0x17, end)),
        name,
        account.public(),
        der(0xA3, der(0x30, extension)),
    ]))
    return der(0x30, to_be_signed + algorithm + der(0x03, b"\x00" + account.sign(to_be_signed)))


def pem(what, content):
    return f"-----BEGIN {what}-----\n{base64.encodebytes(content).decode()}-----END {what}-----\n"
