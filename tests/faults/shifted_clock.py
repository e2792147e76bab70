"""Serve the token service with a shifted clock: AUTHMINT_TEST_CLOCK names a file with the seconds by which it is ahead."""

import os
import time
from pathlib import Path

import uvicorn

from authmint_service.app import create_app


def main() -> None:
    file = Path(os.environ["AUTHMINT_TEST_CLOCK"])
    app = create_app(clock=lambda: time.time() + float(file.read_text()))
    uvicorn.run(app, port=int(os.environ["AUTHMINT_PORT"]), log_config=None, access_log=False)
