"""What all tests share: no setting of this machine reaches them, async tests run on asyncio, and each run records its cost."""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.cost import Meter


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Meter(config), "cost")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def nothing_goes_on_in_the_background() -> Iterator[None]:
    """A resource server of one test, which nothing has collected yet, would write into the log of the next one."""
    yield
    if module := sys.modules.get("authmint.background_thread"):
        module._end_process()
        module._processes.clear()


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # A service of a test is not listed among the developer's own, and finds none of them.
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        for name in os.environ:
            if name.startswith(("AUTHMINT_", "ORDERS_", "DEMO_")) and not name.startswith("AUTHMINT_TEST_"):
                patch.delenv(name)
        yield
