"""The errors of OAuth: each has one code and one status, and may have more members."""

import pytest

from authmint import errors

STATUSES = {
    "InvalidRequest": 400, "InvalidClient": 401, "InvalidGrant": 400, "UnauthorizedClient": 400, "UnsupportedGrantType": 400,
    "InvalidScope": 400, "InvalidTarget": 400, "TemporarilyUnavailable": 503, "InvalidToken": 401, "InsufficientScope": 403,
}  # fmt: skip


def test_every_error_has_a_code_of_its_own_and_the_status_of_its_rfc() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.OAuthError)]
    assert STATUSES | {"OAuthError": 400} == {each.__name__: each.status for each in classes}
    assert len(classes) == len({each.error for each in classes})


@pytest.mark.parametrize("kind", [errors.InvalidGrant, errors.InvalidRequest, errors.OAuthError])
def test_an_error_has_the_members_that_it_is_given_and_none_without(kind: type[errors.OAuthError]) -> None:
    assert {} == kind().extra
    assert ("Why.", {"step": "otp"}) == (kind("Why.", extra={"step": "otp"}).description, kind(extra={"step": "otp"}).extra)
