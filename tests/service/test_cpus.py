"""As many hashes at a time as there are cores to compute them on, and no more."""

import os
from pathlib import Path

import pytest

from authmint_service.cpus import usable_cores
from authmint_service.settings import Settings, load_settings
from tests.service.conftest import SECRET_KEYS, Service
from tests.service.test_metrics import metrics, sample


def load(**changes: object) -> Settings:
    return load_settings(
        _env_file=None, issuer="https://auth.example", database_url="postgresql://host/name", **SECRET_KEYS, **changes
    )


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 64), ("50000 100000", 1), ("150000 100000", 2), ("9900000 100000", 64), ("", 64)]
)
def test_a_quota_of_the_control_group_counts_if_it_is_less_than_the_cores(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cores == usable_cores(tmp_path / "cpu.max")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds a process to cores")
def test_a_process_that_is_bound_to_one_core_hashes_one_password_at_a_time() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert (1, 1) == (usable_cores(), load().password_hash_slots)
    finally:
        os.sched_setaffinity(0, before)


def test_processes_share_the_cores_unless_a_setting_says_how_many_each_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authmint_service.settings.usable_cores", lambda: 6)
    assert [6, 3, 2, 1] == [load(workers=workers).password_hash_slots for workers in (1, 2, 4, 8)]
    assert [5, 5] == [load(workers=workers, password_hash_workers=5).password_hash_slots for workers in (1, 4)]


@pytest.mark.anyio
async def test_a_service_without_a_setting_has_a_slot_for_each_core(service: Service) -> None:
    assert usable_cores() == sample(await metrics(service), "authmint_password_hash_slots")
