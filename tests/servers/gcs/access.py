"""Who may ask: a service account made anew for each start, its self-signed tokens, and the metadata server's.

Follows:
- "Create and manage service account keys" (cloud.google.com/iam/docs/keys-create-delete): the key file.
- AIP-4111 (google.aip.dev/auth/4111) and "Service account authorization without OAuth"
  (developers.google.com/identity/protocols/oauth2/service-account): a JWT that the account signs itself is the token.
- RFC 7515 and RFC 7518 section 3.3: RS256. RFC 8017: the signature (EMSA-PKCS1-v1_5) and the private key.
- "Access tokens on the metadata server" (cloud.google.com/compute/docs/access/authenticate-workloads).
"""

import base64
import hashlib
import json
import secrets
import time

EMAIL = "civic@civic-test.iam.gserviceaccount.com"
KEY_ID = secrets.token_hex(20)
SCOPES = {
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/devstorage.full_control",
    "https://www.googleapis.com/auth/devstorage.read_write",
}
SKEW = 300  # seconds that two clocks may differ
LONGEST = 3600  # seconds that a signed token may be good for
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
EXPONENT = 65537


class Account:
    def __init__(self):
        self.p, self.q = prime(1024), prime(1024)
        self.modulus = self.p * self.q
        self.issued = {}

    def key_file(self, base):
        """What `gcloud iam service-accounts keys create` would write."""
        body = base64.encodebytes(self.pkcs8()).decode()
        return {
            "type": "service_account",
            "project_id": "civic-test",
            "private_key_id": KEY_ID,
            "private_key": f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n",
            "client_email": EMAIL,
            "client_id": "100000000000000000001",
            "auth_uri": f"{base}/o/oauth2/auth",
            "token_uri": f"{base}/token",
        }

    def issue(self):
        """The metadata server's answer."""
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self.issued[token] = time.time() + LONGEST
        return {"access_token": token, "expires_in": LONGEST - 1, "token_type": "Bearer"}

    def refusal(self, authorization):
        """Why this header opens nothing, or None."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Bearer" or not token:
            return "no bearer token"
        if token in self.issued:
            return None if self.issued[token] > time.time() else "expired"
        try:
            header, claims, signature = token.split(".")
            signed = f"{header}.{claims}".encode()
            header, claims = json.loads(unbase64(header)), json.loads(unbase64(claims))
            signature = unbase64(signature)
        except ValueError:
            return "no token of ours, and no JWT"
        if header.get("alg") != "RS256" or header.get("typ") != "JWT" or header.get("kid") != KEY_ID:
            return f"a header that is not this key's: {header}"
        if not self._verifies(signed, signature):
            return "not signed with this account's key"
        return self._claims_refused(claims)

    def _claims_refused(self, claims):
        if claims.get("iss") != EMAIL or claims.get("sub") != EMAIL:
            return "issued by somebody else"
        scoped = SCOPES & set(str(claims.get("scope", "")).split())
        if not scoped and claims.get("aud") != "https://storage.googleapis.com/":
            return "for another service"
        begins, ends, now = claims.get("iat", 0), claims.get("exp", 0), time.time()
        if begins > now + SKEW or ends < now - SKEW or not 0 < ends - begins <= LONGEST:
            return "not good now, or good for too long"
        return None

    def _verifies(self, message, signature):
        length = (self.modulus.bit_length() + 7) // 8
        if len(signature) != length:
            return False
        found = pow(int.from_bytes(signature, "big"), EXPONENT, self.modulus).to_bytes(length, "big")
        return found == padded(message, length)

    def sign(self, message):
        length = (self.modulus.bit_length() + 7) // 8
        number = int.from_bytes(padded(message, length), "big")
        return pow(number, self._exponent(), self.modulus).to_bytes(length, "big")

    def _exponent(self):
        return pow(EXPONENT, -1, (self.p - 1) * (self.q - 1))

    def pkcs8(self):
        """The private key, in DER."""
        d = self._exponent()
        numbers = [
            0, self.modulus, EXPONENT, d, self.p, self.q,
            d % (self.p - 1), d % (self.q - 1), pow(self.q, -1, self.p),
        ]
        key = der(0x30, b"".join(map(integer, numbers)))
        return der(0x30, integer(0) + RSA + der(0x04, key))

    def public(self):
        """The public key, in DER, as certificates hold it."""
        key = der(0x30, integer(self.modulus) + integer(EXPONENT))
        return der(0x30, RSA + der(0x03, b"\x00" + key))


def padded(message, length):
    digest = SHA256_PREFIX + hashlib.sha256(message).digest()
    return b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def der(tag, content):
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(length)]) + length + content


def integer(number):
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


RSA = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))  # rsaEncryption


def prime(bits):
    small = [n for n in range(3, 2000, 2) if all(n % m for m in range(3, int(n**0.5) + 1, 2))]
    while True:
        candidate = secrets.randbits(bits) | (3 << bits - 2) | 1
        if any(candidate % n == 0 for n in small) or candidate % EXPONENT == 1:
            continue
        if all(survives(candidate, secrets.randbelow(candidate - 3) + 2) for _ in range(8)):
            return candidate


def survives(candidate, base):
    """One round of Miller and Rabin."""
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    power = pow(base, odd, candidate)
    if power in (1, candidate - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % candidate
        if power == candidate - 1:
            return True
    return False
