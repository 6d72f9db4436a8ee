"""Receipt codes: 80 bits in Crockford base32 with a check character, e.g. ``7Q4M-0ZKT-9R2C-XW8H-5``.

A code is derived from the idempotency key with a secret and is not stored: the same key gives the same code. Only a
hash under a second secret is stored, so that the database alone opens no receipt.
"""

import base64
import hmac
from dataclasses import dataclass
from typing import Final

RECEIPT_BYTES: Final = 10
_CHARACTERS: Final = 16

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_FROM_RFC_4648: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _ALPHABET.encode())
_FIELD_POLYNOMIAL: Final = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)


class MistypedReceipt(ValueError):
    """The code has another length, another letter, or a check character that does not fit: a typing error."""


@dataclass(frozen=True, slots=True)
class ReceiptKeys:
    """Secrets of one installation, each derived from the one in the settings."""

    codes: bytes
    lookups: bytes
    bodies: bytes

    @classmethod
    def derive(cls, secret: str) -> "ReceiptKeys":
        """One key a purpose, by HMAC-SHA256 over a label (the expand step of HKDF, RFC 5869 section 2.3)."""

        def expand(label: str) -> bytes:
            return hmac.digest(secret.encode(), f"blitzableiter/feedback/{label}/v1".encode() + b"\x01", "sha256")

        return cls(expand("receipt-codes"), expand("receipt-lookups"), expand("bodies"))

    def receipt_for(self, idempotency_key: bytes) -> bytes:
        """The 80 bits of the receipt that belongs to ``idempotency_key``."""
        return hmac.digest(self.codes, idempotency_key, "sha256")[:RECEIPT_BYTES]

    def lookup_hash(self, receipt: bytes) -> bytes:
        """What the database knows of a receipt, and so of its idempotency key; 32 bytes."""
        return hmac.digest(self.lookups, receipt, "sha256")

    def body_hash(self, body: bytes) -> bytes:
        """What the database knows of a body, to recognise its retry; 32 bytes."""
        return hmac.digest(self.bodies, body, "sha256")


def format_receipt(receipt: bytes) -> str:
    """``receipt`` (10 bytes) as a person reads it: four groups of four characters and the check character."""
    code = base64.b32encode(receipt).translate(_FROM_RFC_4648).decode()
    check = _ALPHABET[_check_value([_VALUES[character] for character in code])]
    return f"{code[:4]}-{code[4:8]}-{code[8:12]}-{code[12:]}-{check}"


def parse_receipt(code: str) -> bytes:
    """The 10 bytes of a code as typed: case, spaces and hyphens do not matter, O is 0, I and L are 1.

    Raises ``MistypedReceipt``, before anything is looked up.
    """
    typed = [character for character in code.upper() if not character.isspace() and character not in "-‐‑‒–—−_.·"]
    if len(typed) != _CHARACTERS + 1:
        raise MistypedReceipt(f"a receipt has {_CHARACTERS + 1} characters, not {len(typed)}")
    try:
        *values, check = [_VALUES[character] for character in typed]
    except KeyError as error:
        raise MistypedReceipt(f"{error.args[0]!r} is in no receipt") from None
    if check != _check_value(values):
        raise MistypedReceipt("the check character does not fit")
    number = 0
    for value in values:
        number = number << 5 | value
    return number.to_bytes(RECEIPT_BYTES, "big")


def _check_value(values: list[int]) -> int:
    """Evaluates the code as a polynomial over GF(32) at its generator.

    One wrong character and two swapped ones, wherever they stand, always give another value. Crockford's own sum
    modulo 37 has no such promise within the 32 characters and needs signs (``*~$=``) that nobody reads aloud well.
    """
    check = 0
    for value in values:
        check ^= value
        check <<= 1
        if check & 32:
            check ^= _FIELD_POLYNOMIAL
    return check


def is_idempotency_key(key: str) -> bool:
    """Whether ``key`` may carry 128 bits: 22 to 255 printable ASCII characters without a space (a UUID has 36)."""
    return 22 <= len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key
