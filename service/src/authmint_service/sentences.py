"""The sentences about values that are refused, all of them, by code.

A code is `<field>_<rule>`, and never changes; programs read it. Its sentence is for people and in English here. `translate`
turns a sentence into another language before the values are put in: the English sentence is the message id of gettext, so a
language is one `.mo` file and no change of code. A sentence never repeats a secret, and over HTTP no value that was sent.
"""

from collections.abc import Callable, Mapping

RULES = {
    "missing": "{field} is missing.",
    "repeated": "{field} is there more than once.",
    "too_long": "{field} is too long.",
    "too_short": "{field} is too short.",
    "too_small": "{field} must be at least {minimum}.",
    "too_large": "{field} must be at most {maximum}.",
    "invalid_characters": "{field} has characters that are not allowed.",
    "not_a_uuid": "{field} must be a UUID.",
    "not_a_number": "{field} must be a whole number.",
    "unknown_member": "{field} has a member that is not known.",
    "invalid": "{field} does not have the form that OpenAPI describes.",
}
"""The rules that hold for fields of any name. The code is the field's name and the rule."""

SENTENCES = {
    # Passwords and usernames
    "password_missing": "A password has one character at least.",
    "password_too_short": "The password is too short: it needs {minimum} characters at least.",
    "password_too_long": "A password has at most {maximum} characters.",
    "password_invalid_characters": "A password has no control characters.",
    "password_too_common": "The password is mostly what is guessed first: common words, rows of keys, years. Choose four or "
    "more words that have nothing to do with each other.",
    "password_too_similar": "The password is little more than your name or the name of this service. Choose four or more words "
    "that have nothing to do with you.",
    "password_repetitive": "The password mostly repeats itself, which makes it long and not strong. Choose four or more "
    "different words.",
    "password_breached": "The password is in a public list of stolen passwords, and is tried by attackers. Choose another, and "
    "change it where else you use it.",
    "password_changed": "The password of {username} was changed by another process at the same time. Try again.",
    "wrong_password": "The current password is wrong.",
    "username_too_short": "A username has 1 to {maximum} characters.",
    "username_too_long": "A username has 1 to {maximum} characters.",
    "username_invalid_characters": "A username has letters, digits and punctuation of one direction, without spaces and "
    "controls.",
    "username_is_address": "A username has no @.",
    "username_unknown": "There is no account {username}. See: authmint-service accounts list",
    "username_taken": "An account {username} exists already.",
    # Clients
    "client_id_invalid": "A client id has 1 to 100 letters, digits, dots, hyphens, underscores, tildes.",
    "client_id_unknown": "There is no client {client_id}. See: authmint-service clients list",
    "client_id_taken": "A client {client_id} exists already.",
    "client_id_deleted": "The client {client_id} was deleted, and no other client gets its id. Choose another id.",
    "client_deletion_not_confirmed": "This deletes {client_id} for ever and ends its {sessions} live sessions. To do it, add "
    "--yes.",
    "name_invalid": "A client's name has 1 to 100 printable characters.",
    "confidential_missing": "Choose whether the client can keep a secret: --confidential or --public.",
    "secrets_too_many": "A confidential client has at most {maximum} secrets, and a public client has none.",
    "secrets_not_public": "A public client has no secret.",
    "secrets_full": "{client_id} has {maximum} live secrets already. Remove one first. See: authmint-service clients show "
    "{client_id}",
    "secret_known": "The client has this secret already.",
    "secret_unknown": "{client_id} has no secret with this id. See: authmint-service clients show {client_id}",
    "secret_not_allowed": "A public client has no secret: leave out --secret-stdin, or choose --confidential.",
    "secret_too_weak": "The secret is too easy to guess: it needs at least {minimum} random characters.",
    "grants_unknown": "A grant is one of {known}.",
    "grants_not_public": "A public client cannot use {grant}.",
    "update_missing": "Name what to change. See: authmint-service clients update --help",
    "scopes_contradictory": "Choose: --scope, once for each scope that the client may have, or --no-scopes.",
    "origins_contradictory": "Choose: --origin, once for each origin of its pages, or --no-origins.",
    "lifetime_invalid": "A lifetime is a whole number of seconds, or the word default.",
    "scopes_invalid": "A scope is printable ASCII without space, quote and backslash.",
    "scopes_too_many": "A client has at most {maximum} scopes.",
    "resources_out_of_range": "A client has 1 to {maximum} resources.",
    "resources_invalid": "A resource has 1 to 200 printable characters without spaces.",
    "default_resources_missing": "A client has at least one default resource.",
    "default_resources_unknown": "A default resource must be one of the resources.",
    "refresh_grace_seconds_out_of_range": "A grace period is 0 to {maximum} seconds.",
    "session_idle_ttl_out_of_range": "A session may be idle for {minimum} to {maximum} seconds.",
    "session_idle_ttl_too_long": "A session cannot be idle for longer than it lasts.",
    "session_idle_ttl_too_short": "A session must outlive an access token: --session-idle-ttl is more than {minimum} seconds.",
    "session_ttl_out_of_range": "A session lasts {minimum} to {maximum} seconds.",
    "origins_too_many": "A client has at most {maximum} origins.",
    "origins_invalid": "An origin looks like https://app.example.com: no path, and no *.",
    "origins_other_site": "{origin} and {issuer} are different sites for a browser: its pages never send the cookie.",
    "refresh_cookie_not_allowed": "Refresh tokens in a cookie are for a public client with the grant refresh_token and the "
    "origins of its pages.",
    # Sessions and tokens
    "session_unknown": "{username} has no session {session_id}, or it was revoked already.",
    "my_session_not_found": "You have no session with this id, or it is revoked already.",
    "account_session_not_found": "The account has no session with this id, or it is revoked already.",
    "refresh_token_invalid": "The refresh token is not the current one of this session.",
    "restore_not_confirmed": "This ends {sessions} live sessions and refuses every token. To do it, add --yes.",
    "tokens_missing": "Name the tokens: --all. Those of one account: accounts disable. Of one client: clients disable.",
    # Signing keys
    "kid_unknown": "There is no signing key '{kid}'. See: authmint-service keys list",
    "kid_taken": "The key {kid} is known already.",
    "kid_active": "This key is active, and no other would sign. Run: authmint-service keys rotate --emergency",
    "kid_not_published": "The key {kid} is {state} already.",
    "key_announced": "The key {kid} is announced already, and signs from {active_from} on.",
    "key_too_long": "The key is refused: no key is this long.",
    "key_unreadable": "The key is refused. {reason}",
    "key_public": "The key is refused: it is the example of {source}, and it is public.",
    "key_size_out_of_range": "The key is refused: it has {bits} bits, and RSA keys have {minimum} to {maximum} here.",
    "key_exponent_one": "The key is refused: its public exponent is 1, so anybody can sign with it.",
    "key_exponent_even": "The key is refused: its public exponent is even.",
    "key_exponent_too_small": "The key is refused: its public exponent is below {minimum}.",
    "key_private_number_too_small": "The key is refused: its private exponent is so small that it can be computed (Wiener).",
    "key_small_factor": "The key is refused: its modulus can be divided by {factor}.",
    "key_primes_wrong": "The key is refused: its modulus is not the product of its primes.",
    "key_not_of_primes": "The key is refused: one of its primes is no prime.",
    "key_prime_short": "The key is refused: one of its primes has only {bits} bits.",
    "key_primes_close": "The key is refused: its primes are so close that they can be computed (Fermat).",
    "key_modulus_known": "The key is refused: it has the modulus of the key {kid}.",
    "key_prime_shared": "The key is refused: it has a prime of the key {kid}, so anybody can compute both. Replace that one "
    "too: authmint-service keys rotate --emergency",
    "key_point_off_curve": "The key is refused: its point is not on the curve {curve}.",
    "key_private_number_guessable": "The key is refused: its private number is zero, one, or another that can be guessed.",
    "key_halves_differ": "The key is refused: its private and its public half do not belong together.",
    "key_other_algorithm": "The key is for {algorithm}, and keys are configured for {configured}. Change "
    "AUTHMINT_SIGNING_ALGORITHM or AUTHMINT_ID_TOKEN_ALGORITHMS first.",
    "line_unknown": "There are no keys for {algorithm}. Keys are configured for {configured}.",
    "emergency_is_for_all": "Leave out --algorithm: an emergency replaces the keys of all algorithms.",
    "keys_unreadable": "{problems}",
    "keys_not_used": "AUTHMINT_SIGNING_ALGORITHM is HS256: there is one shared secret, and there are no signing keys.",
    # Secret keys
    "encryption_keys_not_shared": "AUTHMINT_KEY_ENCRYPTION_KEYS has no key that all live processes have. See: "
    "authmint-service secrets list",
    "key_id_current": "New refresh tokens are made with the key {key_id}. Put another one before it in "
    "AUTHMINT_REFRESH_TOKEN_KEYS of all processes first; it is used when all have it.",
    "key_id_in_use": "On the refresh-token key {key_id} depend {sessions} live sessions and {one_time_tokens} links and codes; "
    "{unknown} sessions do not say on which key. Wait until they have ended, or end the sessions now: --force.",
    "key_id_unknown": "The refresh-token key {key_id} is not in use. See: authmint-service secrets list",
    # Options and input of commands
    "data_dir_not_allowed": "--ephemeral uses a temporary folder: leave out --data-dir.",
    "ids_missing": "Name the deliveries by their ids, or --all. See: authmint-service deliveries list --dead",
    "ids_unknown": "{count} of {given} are tried again. The others are not dead, or were delivered.",
    "kind_unknown": "--kind is none that is recorded. The kinds are: {known}.",
    "since_invalid": "--since is not a time in ISO 8601, such as 2026-01-31 or 2026-01-31T08:00Z.",
    "stdin_missing": "Standard input is empty: it must hold the {name} on its first line.",
    "file_unreadable": "{file} cannot be read: {reason}.",
}  # fmt: skip
"""The sentences of codes that say more than a rule. Names in braces are the values."""


def untranslated(sentence: str) -> str:
    """Return the sentence as it is: the language of the JSON API, the log and the command line."""
    return sentence


def sentence_for(code: str, values: Mapping[str, object], translate: Callable[[str], str] = untranslated) -> str:
    """Return the sentence of a code. `translate`: such as `gettext.GNUTranslations.gettext`."""
    return translate(SENTENCES[code]).format_map(values)


def sentence_for_rule(
    rule: str, field: str, values: Mapping[str, object], translate: Callable[[str], str] = untranslated
) -> str:
    """Return the sentence of a rule that a field breaks."""
    return translate(RULES[rule]).format_map({**values, "field": field})
