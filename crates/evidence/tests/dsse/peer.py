"""Somebody else's DSSE (securesystemslib) on the other side of the table.

peer.py verify ENVELOPE THRESHOLD PUBLIC_KEY...   ends with 0 if as many of the keys signed it, with 3 if not
peer.py sign PAYLOAD ENVELOPE PRIVATE_KEY...      makes a new key for each name and signs with all of them
"""

import hashlib
import json
import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

IN_TOTO = "application/vnd.in-toto+json"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def public_key(path):
    """The key under the name that `sekat` gives it: this library, unlike the protocol, looks keys up by their ids."""
    key = load_pem_public_key(read(path))
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(key, keyid=hashlib.sha256(spki).hexdigest())


def verify(path, threshold, *keys):
    try:
        Envelope.from_dict(json.loads(read(path))).verify([public_key(key) for key in keys], int(threshold))
    except VerificationError:
        return 3
    return 0


def sign(payload, path, *keys):
    envelope = Envelope(read(payload), IN_TOTO, {})
    for key in keys:
        signer = CryptoSigner.generate_ed25519()
        envelope.sign(signer)
        with open(key, "wb") as file:
            file.write(signer.private_bytes)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(envelope.to_dict(), file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit({"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:]))
