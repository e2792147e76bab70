"""Every command finds its service in the same way."""

import re
from pathlib import Path

from authmint_service import cli, commands

CLI = Path(cli.__file__).read_text()
MODULES = sorted(Path(commands.__file__).parent.glob("*.py"))


def test_commands_get_their_settings_from_the_one_function_that_decides_which_service_they_speak_to() -> None:
    readers = {path.name for path in MODULES if re.search(r"\bload_settings\b", path.read_text())}
    assert {"service_settings.py"} == readers


def test_every_command_that_opens_the_database_has_the_option_for_the_data_folder() -> None:
    for path in MODULES:
        text = path.read_text()
        if path.name != "output.py" and "open_database(" in text:
            own = rf"@app\.command\(\)\ndef {path.stem}\(.*?\) -> None:"
            # A command that belongs to no group is declared beside the groups.
            signatures = re.findall(r"@app\.command\(.*?\) -> None:", text, re.DOTALL) or re.findall(own, CLI, re.DOTALL)
            assert signatures, path
            assert [one for one in signatures if "data_dir: DataDir" not in one] == [], path


def test_no_command_goes_by_the_clock_of_its_computer() -> None:
    """What is revoked at a time that has passed already is still accepted: `ask_time` asks the database."""
    asking = {path.name for path in MODULES if "ask_time(database)" in path.read_text()}
    assert {"accounts.py", "client_changes.py", "clients.py", "keys.py", "sessions.py", "tokens.py"} <= asking
    assert [path.name for path in MODULES if re.search(r"\btime\.time\b|\bimport time\b|\bnow\(", path.read_text())] == []
