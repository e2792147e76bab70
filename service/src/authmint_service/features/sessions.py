"""Sessions, and the cookies in which some clients keep their refresh token."""

from dataclasses import dataclass
from functools import partial

from authmint_service.endpoints.metrics import Estimate
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.processes import SecretKind
from authmint_service.readiness import CheckResult
from authmint_service.sessions import (
    AccountSessions,
    AccountSessionStore,
    RefreshTokenCodec,
    RotationPlaces,
    RotationStore,
    SessionLifetimes,
    SessionLimit,
    Sessions,
    SessionStore,
    pruning_task,
)

RESTORED = (
    "A refresh token is newer than the database, which was restored from a backup: what was revoked since is good again. Stop"
    " the service, and run: authmint-service after-restore"
)


@dataclass(frozen=True)
class SessionParts:
    """The feature, the sessions, all those of an account, and the cookies in which some clients keep their refresh token."""

    feature: Feature
    sessions: Sessions
    of_account: AccountSessions
    cookies: RefreshCookies


def sessions(kernel: Kernel) -> SessionParts:
    settings = kernel.settings
    lifetimes = SessionLifetimes(
        grace=settings.refresh_grace_seconds,
        idle=settings.session_idle_ttl,
        absolute=settings.session_ttl,
        access_token=settings.access_token_ttl,
    )
    store, rotations = SessionStore(kernel.database, lifetimes), RotationStore(kernel.database, lifetimes)
    refresh_keys = kernel.processes.keys(SecretKind.REFRESH_TOKEN)
    places = RotationPlaces(refresh_keys, has_addresses=settings.trusted_proxies is not None)
    codec = RefreshTokenCodec(refresh_keys)
    has_key, count = partial(kernel.processes.have, SecretKind.REFRESH_TOKEN), kernel.metrics.count_session_event
    # The revocation list finds what is new by the clock that all processes share.
    shared = kernel.database_clock
    limit = SessionLimit(kernel.database, settings.sessions_per_client, shared)
    parts = Sessions(store, rotations, codec, places, kernel.clock, count, has_key, shared_clock=shared, limit=limit)
    of_account = AccountSessions(AccountSessionStore(kernel.database), parts, codec, shared, count)
    rows = Estimate(
        "authmint_session_rows_estimate",
        "Rows of sessions as PostgreSQL last estimated: live ones, and those that are not yet pruned",
        store.estimate,
    )

    def check() -> CheckResult:
        newer = parts.newer_than_database
        is_restored = newer is not None and newer.epoch >= kernel.changes.restored
        return CheckResult("restored", RESTORED) if is_restored else CheckResult()

    feature = Feature(
        name="sessions",
        readiness={"sessions": check},
        # The clock that all processes share: one whose own is ahead must not delete what is live.
        tasks=(pruning_task(store, kernel.database_clock),),
        estimates=(rows,),
    )
    cookies = RefreshCookies(idle_ttl=settings.session_idle_ttl, insecure=settings.uses_insecure_cookies)
    return SessionParts(feature, parts, of_account, cookies)
