"""`authmint-service accounts …`"""

import asyncio
import secrets
import time
import uuid
from typing import Annotated

import typer

from authmint_service.accounts import Account, AccountStore, prepare_username
from authmint_service.commands.output import echo, echo_json, echo_table, open_database, read_secret_line
from authmint_service.errors import InvalidValue
from authmint_service.passwords import CONTEXT_WORDS, PasswordHasher, PasswordPolicy, PasswordStore
from authmint_service.settings import Settings, load_settings

app = typer.Typer(help="People who sign in with a name and a password.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command()
def add(
    username: Annotated[str, typer.Argument(help="The name to sign in with.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a person. Without --password-stdin a random password is made, and shown this once."""
    settings = load_settings()
    name = prepare_username(username)
    password = read_secret_line("password") if password_stdin else secrets.token_urlsafe(18)
    rules = PasswordPolicy(min_length=settings.password_min_length, context_words=CONTEXT_WORDS)
    account = asyncio.run(_add(settings, name, rules.check(password, username=name)))
    shown = {} if password_stdin else {"password": password}
    if as_json:
        echo_json({"username": account.username, "id": account.id, **shown})
        return
    echo(f"Added the account {account.username} (sub {account.id}).")
    if shown:
        echo(f"Password, shown this once: {password}")


@app.command("list")
def list_accounts(as_json: AsJson = False) -> None:
    """List accounts."""
    accounts = asyncio.run(_list(load_settings()))
    rows = [{"username": account.username, "id": account.id, "state": account.state.value} for account in accounts]
    if as_json:
        echo_json(rows)
    else:
        empty = "There are no accounts. Add one with: authmint-service accounts add"
        echo_table(("username", "id", "state"), rows, empty=empty)


@app.command()
def passwd(
    username: Annotated[str, typer.Argument(help="Whose password.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
) -> None:
    """Give a person a new password, and end all their sessions. Without --password-stdin a random one, shown this once."""
    settings = load_settings()
    name = prepare_username(username)
    password = read_secret_line("password") if password_stdin else secrets.token_urlsafe(18)
    rules = PasswordPolicy(min_length=settings.password_min_length, context_words=CONTEXT_WORDS)
    asyncio.run(_replace_password(settings, name, rules.check(password, username=name)))
    echo(f"{name} has a new password, and is signed out everywhere.")
    if not password_stdin:
        echo(f"Password, shown this once: {password}")


@app.command()
def disable(username: Annotated[str, typer.Argument(help="Who shall not sign in any more.")]) -> None:
    """Disable a person: no sign-in from now on, and all their sessions end."""
    name = prepare_username(username)
    asyncio.run(_set_enabled(load_settings(), name, enabled=False))
    echo(f"{name} is disabled, and signed out everywhere.")


@app.command()
def enable(username: Annotated[str, typer.Argument(help="Who may sign in again.")]) -> None:
    """Enable a person again. Sessions that were ended stay ended."""
    name = prepare_username(username)
    asyncio.run(_set_enabled(load_settings(), name, enabled=True))
    echo(f"{name} may sign in again.")


async def find_account(store: AccountStore, username: str) -> Account:
    """Return the account with this prepared username. Raise InvalidValue."""
    account = await store.find_by_name(username)
    if account is None:
        raise InvalidValue(f"There is no account {username}. See: authmint-service accounts list")
    return account


async def _replace_password(settings: Settings, username: str, password: str) -> None:
    hasher = PasswordHasher(workers=1, queue=1)
    try:
        new_hash = await hasher.hash(password)
        async with open_database(settings) as database:
            account = await find_account(AccountStore(database), username)
            changed = await PasswordStore(database).change(
                account.id,
                new_hash,
                credentials_version=account.credentials_version,
                except_session_id=None,
                now=time.time(),
            )
            if not changed:
                raise InvalidValue(f"The password of {username} was changed by another process at the same time. Try again.")
    finally:
        hasher.close()


async def _set_enabled(settings: Settings, username: str, *, enabled: bool) -> None:
    async with open_database(settings) as database:
        store = AccountStore(database)
        account = await find_account(store, username)
        if enabled:
            await store.enable(account.id)
        else:
            await store.disable(account.id, time.time())


async def _add(settings: Settings, username: str, password: str) -> Account:
    hasher = PasswordHasher(workers=1, queue=1)
    try:
        account = Account(id=str(uuid.uuid4()), username=username, password_hash=await hasher.hash(password))
        async with open_database(settings) as database:
            await AccountStore(database).add(account, time.time())
    finally:
        hasher.close()
    return account


async def _list(settings: Settings) -> list[Account]:
    async with open_database(settings) as database:
        return list(await AccountStore(database).list())
