"""A test that kills a database proves first that it has made it (T-0)."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.cluster import OWNER, Cluster, NotOurs, own_cluster

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]


def test_a_database_that_was_not_made_here_is_never_harmed(tmp_path: Path, stopped_cluster: Cluster) -> None:
    with own_cluster(tmp_path / "mine", stopped_cluster) as mine, own_cluster(tmp_path / "theirs", stopped_cluster) as theirs:
        secret, pid_file = (mine.data / OWNER).read_text(), (mine.data / "postmaster.pid").read_text()
        theirs_pid = theirs.postmaster()
        # A folder with another owner's mark, or none.
        (mine.data / OWNER).write_text("another owner")
        _refuses(mine.postmaster, mine.kill, mine.stop)
        (mine.data / OWNER).write_text(secret)
        # A number that belongs to another server, or to no server at all.
        bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        for pid in (theirs_pid, bystander.pid, os.getpid()):
            (mine.data / "postmaster.pid").write_text("\n".join([str(pid), *pid_file.splitlines()[1:]]))
            _refuses(mine.postmaster, mine.kill, mine.stop)
            (mine.data / "postmaster.pid").write_text(pid_file)
            _refuses(partial(mine.kill_backend, pid))
        assert bystander.poll() is None
        bystander.communicate(b"\n")
        assert theirs_pid == theirs.postmaster()
        mine.kill()
        mine.start()


def _refuses(*harms: Callable[[], object]) -> None:
    for harm in harms:
        with pytest.raises(NotOurs):
            harm()
