"""Serves the token service by a clock that a test sets: MINTMARK_TEST_CLOCK names a file with the seconds that it is ahead."""

import os
import time
from pathlib import Path

import uvicorn

from service.app import create_app


def main() -> None:
    file = Path(os.environ["MINTMARK_TEST_CLOCK"])
    app = create_app(clock=lambda: time.time() + float(file.read_text()))
    uvicorn.run(app, port=int(os.environ["MINTMARK_PORT"]), log_config=None, access_log=False)


if __name__ == "__main__":
    main()
