"""The page of what Authmint does not do is true: a row goes when routes, commands, settings or grants show the feature."""

import re

import pytest

from authmint_service.grants.registry import GRANTS
from tests.e2e.conftest import ROOT
from tools.reference_docs import commands_page, routes_page

PAGE = ROOT / "docs" / "not-offered.md"
OFFERED_WHEN = {
    "hosted pages": r"GET /(sign-in|login)\b",
    "sign-up by people": r"POST /(sign-up|register)\b",
    "resetting a forgotten password": r"POST /\S*(reset|forgot)",
    "mail of any kind": r"AUTHMINT_(SMTP|MAIL)",
    "a second factor": r"totp|passkey|webauthn|second-factor",
    "throttling of guesses": r"AUTHMINT_\w*(THROTTL|ATTEMPTS|GUESSES)",
    "authorization code with PKCE": r"authorization_code",
    "OpenID Connect": r"userinfo|openid-configuration",
    "device authorization, token exchange": r"device_code|token-exchange|jwt-bearer",
    "clients that authenticate with a key": r"private_key_jwt|clients keys",
    "another secret for a client": r"authmint-service clients [\w-]*secret",
    "roles and groups": r"authmint-service (roles|groups)",
    "a web page for operators": r"POST /admin/v1/(accounts|clients)`",
    "an audit trail": r"authmint-service audit",
    "webhooks": r"webhook",
    "import of accounts": r"authmint-service accounts import",
    "deletion and export": r"authmint-service accounts (export|delete|erase)",
}
"""The beginning of each row that says "not offered", and what its feature would add to the reference."""


@pytest.fixture(scope="module")
def reference() -> str:
    grants = " ".join(grant.name for grant in GRANTS)
    return "\n".join([routes_page(), commands_page(), (ROOT / "docs/settings.md").read_text(), grants])


@pytest.mark.parametrize("row", OFFERED_WHEN)
def test_a_row_says_that_it_is_not_offered_exactly_as_long_as_it_is_not(reference: str, row: str) -> None:
    is_offered = re.search(OFFERED_WHEN[row], reference) is not None
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row}")]
    says_not = any(line.split(" | ")[1].startswith("not offered") for line in lines)
    assert is_offered != says_not, f"docs/not-offered.md, row {row!r}"


def test_what_is_offered_is_found_in_the_reference(reference: str) -> None:
    for pattern in ("client_credentials", r"POST /token", r"authmint-service accounts add", "AUTHMINT_ISSUER"):
        assert re.search(pattern, reference)
