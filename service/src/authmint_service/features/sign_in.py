"""Sign-in with a username and a password."""

from dataclasses import dataclass

from authmint_service.accounts import AccountStore
from authmint_service.authentication import PasswordAuthenticator
from authmint_service.events import FailureRecorder
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.metrics import Gauge
from authmint_service.outbound import Outbound
from authmint_service.passwords import PasswordChange, PasswordHasher, PasswordPolicy, PasswordStore
from authmint_service.passwords.breaches import BreachList


@dataclass(frozen=True)
class SignIn:
    """The feature, the accounts, the check of a name and a password, and the change of a password."""

    feature: Feature
    accounts: AccountStore
    authenticator: PasswordAuthenticator
    password_change: PasswordChange


def sign_in(kernel: Kernel, failures: FailureRecorder) -> SignIn:
    settings = kernel.settings
    make_hasher = PasswordHasher if kernel.tracing is None else kernel.tracing.hasher
    hasher = make_hasher(workers=settings.password_hash_slots, queue=settings.password_hash_queue)
    accounts, passwords = AccountStore(kernel.database), PasswordStore(kernel.database)
    outbound = Outbound(settings.outbound_allowed_hosts)
    url = settings.password_breach_url
    breaches = None if url is None else BreachList(url, outbound, kernel.metrics.count_breach_check)
    rules = PasswordPolicy(min_length=settings.password_min_length, breaches=breaches)
    feature = Feature(
        name="sign_in",
        gauges=_gauges(hasher),
        close=(hasher.close, outbound.close),
    )
    authenticator = PasswordAuthenticator(accounts, passwords, hasher, failures)
    # The revocation list finds the sessions that a change ends by the clock that all processes share.
    change = PasswordChange(passwords, hasher, rules, kernel.database_clock, failures)
    return SignIn(feature, accounts, authenticator, change)


def _gauges(hasher: PasswordHasher) -> tuple[Gauge, ...]:
    return (
        Gauge("authmint_password_hash_slots", "Password hashes that may be computed at a time", lambda: hasher.slots),
        Gauge("authmint_password_hashes_running", "Password hashes that are being computed", lambda: hasher.running),
        Gauge("authmint_password_hashes_queued", "Sign-ins that wait for a hash", lambda: hasher.queued),
        Gauge("authmint_password_hashes_refused", "Sign-ins that found the queue full", lambda: hasher.refused, is_count=True),
    )
