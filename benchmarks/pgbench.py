"""The baseline of a refresh: PostgreSQL's own benchmark with the same statement, where each client rotates one session."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from authmint_service.embedded_postgres.programs import find_programs
from authmint_service.sessions import RotationStore

IDLE_TTL = 14 * 86_400
CLIENT = "pgbench"
"""Its sessions are used for nothing else."""
NOW = "extract(epoch FROM now())::float8"
VALUES = {
    1: ":handle", 2: ":generation", 3: f"'{CLIENT}'", 4: NOW, 5: str(IDLE_TTL), 6: "''", 7: "''", 8: NOW,
    9: "'\\x0100'", 10: "''", 11: "1",
}  # fmt: skip
# The first transaction of a client finds its session; all others are the statement and nothing else.
SCRIPT = """\
\\if :generation = -1
SELECT handle, generation FROM authmint.sessions WHERE client_id = '{client}' ORDER BY handle OFFSET :client_id LIMIT 1 \\gset
\\else
\\set generation :generation + 1
\\endif
{statement};
"""


def rotations_a_second(port: int, data: Path, *, clients: int, seconds: int) -> float:
    """Measure at the server on `port` with the programs of the data folder `data`. Each client needs a session of CLIENT."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "rotate.sql"
        script.write_text(SCRIPT.format(client=CLIENT, statement=_statement()))
        command: Sequence[str] = [
            str(find_programs("18", data) / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={clients}",
            f"--time={seconds}", "--define=generation=-1", f"--file={script}", "--host=127.0.0.1",
            f"--port={port}", "--username=authmint", "postgres",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def _statement() -> str:
    return re.sub(r"\$(\d+)", lambda number: VALUES[int(number[1])], RotationStore.ROTATE).strip()
