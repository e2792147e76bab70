"""The worked example in docs/revocation-list.md is a real list, and says what the page says.

`python -m tests.library.test_list_example` writes it again, with a new key, after a change of the format.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from authmint import Principal
from authmint.claims import read_claims
from authmint.jose import JWTSigner, Parser, SigningKey, VerifyingKey, read_payload
from authmint.revocation_list import MEDIA_TYPE, RevocationList, accept_list
from authmint.revoked_entries import entry_of
from tests.library.web import pack

PAGE = Path(__file__).parents[2] / "docs" / "revocation-list.md"
ISSUER, NOW = "https://auth.example.com", 1_800_000_000
BEGIN, END = "<!-- the example begins -->\n", "<!-- the example ends -->\n"


def blocks() -> list[str]:
    """Return the code blocks of the example: the key, the list, its payload, the hashes, and the tokens."""
    found = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    return re.findall(r"^```\w+\n(.*?)^```$", found, flags=re.MULTILINE | re.DOTALL)


def read() -> tuple[RevocationList, dict[str, Any]]:
    """Return the list in the example, verified, and its payload."""
    key = VerifyingKey.from_jwk(json.loads(blocks()[0]))
    jws = Parser(types=(MEDIA_TYPE,)).parse("".join(blocks()[1].split()))
    assert key.kid == jws.header.key_id
    payload = read_payload(key.verify(jws))
    return RevocationList.from_claims(payload, issuer=ISSUER), payload


def test_the_payload_is_the_one_that_the_page_shows() -> None:
    known, payload = read()
    assert json.loads(blocks()[2]) == payload
    assert known == accept_list(None, known, NOW)
    assert payload == known.to_claims(ISSUER)


def test_the_hashes_are_those_of_the_entries() -> None:
    known, _ = read()
    rows = [line.split() for line in blocks()[3].splitlines()]
    assert 3 == len(rows)
    for name, value, digest in rows:
        assert f"{entry_of(value):016x}" == digest
        assert entry_of(value) in (known.entries.sessions if name == "sid" else known.entries.tokens)


@pytest.mark.parametrize("number", range(6))
def test_a_token_is_refused_as_the_page_says(number: int) -> None:
    known, _ = read()
    vectors = json.loads(blocks()[4])
    assert 6 == len(vectors)
    some = {"iss": ISSUER, "sub": "6f1c", "aud": "orders", "iat": NOW - 60, "exp": NOW + 240, "jti": "1", "client_id": "spa"}
    claims = {**some, "scope": "orders:read", **vectors[number]["claims"]}
    assert vectors[number]["refused"] == known.entries.revokes(Principal.from_claims(read_claims(claims), claims))


SIDS, JTI = ("8c1f6b1e-93d7-4a55-9d0a-3f0f4c0b7a11", "e2b7c9d0-5a64-4c1b-8f3e-0d9a7b6c5e42"), "Xq3vZ0m1T2-kLw9sYb7n5A"
EPOCH = NOW * 1000


def main() -> None:
    """Write the example into the page."""
    key = SigningKey.generate()
    sessions = {"30000010": pack(*SIDS)}
    below = {"clients": {"billing-sync": EPOCH - 1000}, "scopes": {"orders:write": EPOCH - 500_000}}
    payload = {
        "iss": ISSUER, "iat": NOW, "serial": EPOCH + 250, "sessions": sessions, "tokens": {"30000009": pack(JTI)},
        "below": below, "keys": ["a-key-that-leaked"],
    }  # fmt: skip
    vectors = [
        {"claims": {"sid": SIDS[0], "epoch": EPOCH}, "refused": True},
        {"claims": {"sid": "another-session", "epoch": EPOCH - 2000}, "refused": False},
        {"claims": {"jti": JTI, "epoch": EPOCH}, "refused": True},
        {"claims": {"client_id": "billing-sync", "epoch": EPOCH - 1001}, "refused": True},
        {"claims": {"client_id": "billing-sync", "epoch": EPOCH - 1000}, "refused": False},
        {"claims": {"sid": "another-session"}, "refused": True},
    ]
    text = JWTSigner(key).sign(payload, typ=MEDIA_TYPE)
    rows = [("sid", SIDS[0]), ("sid", SIDS[1]), ("jti", JTI)]
    parts = [
        ("The issuer's key:", "json", json.dumps(key.public_jwk(), indent=2)),
        ("The list, in lines here; as it is sent it has no white space:", "text", "\n".join(textwrap.wrap(text, 120))),
        ("Its payload:", "json", json.dumps(payload, indent=2)),
        (
            "What is in the packs, with the first 8 bytes of the SHA-256 in hexadecimal. A pack has these in ascending order:",
            "text",
            "\n".join(f"{name} {value} {entry_of(value):016x}" for name, value in rows),
        ),
        (
            "Which tokens it refuses. The claims that are left out are in none of its entries; the last token has no epoch:",
            "json",
            "[\n" + ",\n".join(f"  {json.dumps(vector)}" for vector in vectors) + "\n]",
        ),
    ]
    example = "\n".join(f"{title}\n\n```{kind}\n{content}\n```\n" for title, kind, content in parts)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{example}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
