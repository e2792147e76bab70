"""`mintmark-service users …`"""

import asyncio
import secrets
import time
import uuid
from typing import Annotated

import typer

from service.commands.output import open_for_command, read_secret_line, say, say_json, say_table
from service.settings import Settings, load_settings
from service.users import CONTEXT_WORDS, PasswordHasher, PasswordRules, User, UserStore, prepare_username

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
    rules = PasswordRules(min_length=settings.password_min_length, context_words=CONTEXT_WORDS)
    user = asyncio.run(_add(settings, name, rules.check(password, username=name)))
    shown = {} if password_stdin else {"password": password}
    if as_json:
        say_json({"username": user.username, "subject": user.id, **shown})
        return
    say(f"Added the user {user.username} (sub {user.id}).")
    if shown:
        say(f"Password, shown this once: {password}")


@app.command("list")
def list_users(as_json: AsJson = False) -> None:
    """List people."""
    people = asyncio.run(_list(load_settings()))
    rows = [{"username": user.username, "subject": user.id, "enabled": user.enabled} for user in people]
    if as_json:
        say_json(rows)
    else:
        say_table(
            ("username", "subject", "enabled"), rows, empty="There are no users. Add one with: mintmark-service users add"
        )


async def _add(settings: Settings, username: str, password: str) -> User:
    hasher = PasswordHasher(workers=1, queue=1)
    try:
        user = User(id=str(uuid.uuid4()), username=username, password_hash=await hasher.hash(password))
        async with open_for_command(settings) as database:
            await UserStore(database).add(user, time.time())
    finally:
        hasher.close()
    return user


async def _list(settings: Settings) -> list[User]:
    async with open_for_command(settings) as database:
        return list(await UserStore(database).list())
