"""`authmint-service accounts …`"""

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated

import typer

from authmint_service.accounts import Account, AccountStore, prepare_username
from authmint_service.commands.operator import operator
from authmint_service.commands.output import (
    DEFAULT_LIMIT,
    AsJson,
    Limit,
    cut,
    echo,
    echo_json,
    echo_table,
    open_database,
    read_secret_line,
)
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

app = typer.Typer(name="accounts", help="People who sign in with a username and a password.", no_args_is_help=True)

COLUMNS = ("username", "id", "state", "disabled_reason")

Username = Annotated[str, typer.Argument(help="The account's username.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command()
def add(username: Username, password_stdin: FromStdin = False, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Add an account. Without --password-stdin a random password is made, and printed this once."""
    settings = load_service_settings(data_dir)
    name = prepare_username(username)
    password = _read_or_make_password(from_stdin=password_stdin)
    account = asyncio.run(_add(settings, name, password))
    printed = {} if password_stdin else {"password": password}
    if as_json:
        echo_json({"username": account.username, "id": account.id, **printed})
        return
    echo(f"Added the account {account.username} (sub {account.id}).")
    if printed:
        echo(f"Password, shown this once: {password}")


@app.command("list")
def list_accounts(
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[str, typer.Option(help="Only those whose usernames come after this one, the last of a list before.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the accounts in the order of their usernames."""
    found = asyncio.run(_list(load_service_settings(data_dir), limit + 1, after))
    rows = [
        {
            "username": account.username,
            "id": account.id,
            "state": account.state.value,
            "disabled_reason": account.disabled_reason,
        }
        for account in cut(found, limit, how="See --limit and --after.")
    ]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="There are no accounts. Add one with: authmint-service accounts add")


@app.command()
def set_password(username: Username, password_stdin: FromStdin = False, data_dir: DataDir = None) -> None:
    """Set a new password, and revoke all sessions. Without --password-stdin a random one is made, and printed this once."""
    settings = load_service_settings(data_dir)
    name = prepare_username(username)
    password = _read_or_make_password(from_stdin=password_stdin)
    asyncio.run(_set_password(settings, name, password))
    echo(f"{name} has a new password, and is signed out everywhere.")
    if not password_stdin:
        echo(f"Password, shown this once: {password}")


@app.command()
def disable(
    username: Username,
    reason: Annotated[
        str | None,
        typer.Option(
            help="Why, for other operators; the person does not see it. Left out: a reason that was given before stays."
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Disable an account: it cannot sign in, and all its sessions are revoked."""
    name = prepare_username(username)
    asyncio.run(_disable(load_service_settings(data_dir), name, reason))
    echo(f"{name} is disabled, and signed out everywhere.")


@app.command()
def enable(username: Username, data_dir: DataDir = None) -> None:
    """Enable an account again. Revoked sessions stay revoked."""
    name = prepare_username(username)
    asyncio.run(_enable(load_service_settings(data_dir), name))
    echo(f"{name} may sign in again.")


async def find_account(store: AccountStore, username: str) -> Account:
    """Return the account with this prepared username. Raise InvalidValue."""
    account = await store.find_by_name(username)
    if account is None:
        raise InvalidValue("username_unknown", field="username", username=username)
    return account


def _read_or_make_password(*, from_stdin: bool) -> str:
    return read_secret_line("password") if from_stdin else secrets.token_urlsafe(18)


async def _check_and_hash(settings: Settings, username: str, password: str) -> str:
    """Return the hash of a new password. Raise InvalidValue if the policy refuses it."""
    from authmint_service.passwords import PasswordHasher, PasswordPolicy

    with ExitStack() as stack:
        hasher = PasswordHasher(workers=1, queue=1)
        stack.callback(hasher.close)
        breaches = None
        if settings.password_breach_url is not None:
            from authmint_service.outbound import Outbound
            from authmint_service.passwords.breaches import BreachList

            outbound = Outbound(settings.outbound_allowed_hosts)
            stack.callback(outbound.close)
            breaches = BreachList(settings.password_breach_url, outbound)
        policy = PasswordPolicy(min_length=settings.password_min_length, breaches=breaches)
        return await hasher.hash(await policy.check(password, username=username))


async def _set_password(settings: Settings, username: str, password: str) -> None:
    from authmint_service.passwords.store import PasswordStore

    new_hash = await _check_and_hash(settings, username, password)
    async with open_database(settings) as database:
        account = await find_account(AccountStore(database), username)
        changed = await PasswordStore(database).change(
            account.id,
            new_hash,
            credentials_version=account.credentials_version,
            kept=None,
            now=await ask_time(database),
            actor=operator(),
        )
        if not changed:
            raise InvalidValue("password_changed", field="password", username=username)


async def _disable(settings: Settings, username: str, reason: str | None) -> None:
    async with open_database(settings) as database:
        store = AccountStore(database)
        account = await find_account(store, username)
        await store.disable(account.id, await ask_time(database), actor=operator(), reason=reason)


async def _enable(settings: Settings, username: str) -> None:
    async with open_database(settings) as database:
        store = AccountStore(database)
        account = await find_account(store, username)
        await store.enable(account.id, await ask_time(database), actor=operator())


async def _add(settings: Settings, username: str, password: str) -> Account:
    new_hash = await _check_and_hash(settings, username, password)
    account = Account(id=str(uuid.uuid4()), username=username, password_hash=new_hash)
    async with open_database(settings) as database:
        await AccountStore(database).add(account, await ask_time(database), actor=operator())
    return account


async def _list(settings: Settings, limit: int, after: str) -> Sequence[Account]:
    async with open_database(settings) as database:
        return await AccountStore(database).list(limit=limit, after=after)
