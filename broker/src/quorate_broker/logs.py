"""What a node says: a line of text or of JSON per event on stderr, at levels that may change while
it runs.

The file of settings is looked at every second; `log.level`, `log.format` and `log.loggers` of one
that changed are heeded at once, everything else in it waits for the next start. A file that cannot
be read changes nothing. (A ConfigMap's file reaches a pod within about a minute.)
"""

from __future__ import annotations

import asyncio
import json
import logging
import pathlib
import sys
import time
from collections.abc import Callable

from quorate_broker import config

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0


class _Text(logging.Formatter):
    """Times in UTC: what `kubectl logs` shows."""

    def __init__(self) -> None:
        self.converter = time.gmtime
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )


class _Json(logging.Formatter):
    """One object per line: time, level, logger, message, and error where there is one."""

    def __init__(self) -> None:
        self.converter = time.gmtime
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        said = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


class Logs:
    """The one handler of a process; also whoever changes what it lets through."""

    def __init__(self) -> None:
        self._handler = logging.StreamHandler(sys.stderr)
        self._raised: tuple[str, ...] = ()
        """Loggers that have a level of their own."""

    def begin(self, settings: config.Settings) -> None:
        logging.basicConfig(handlers=[self._handler])
        self.heed(settings)

    def heed(self, settings: config.Settings) -> None:
        """From now on as these settings say."""
        self._handler.setFormatter(_Json() if settings.log_format == "json" else _Text())
        logging.getLogger().setLevel(settings.log_level.upper())
        levels = dict(text.split("=") for text in settings.log_loggers)
        for name in self._raised:
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level.upper())
        self._raised = tuple(levels)

    async def follow(self, file: pathlib.Path, load: Callable[[], config.Settings]) -> None:
        """Heed what changes in `file` until cancelled."""
        seen = _version(file)
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            now = _version(file)
            if now in (seen, None):
                continue
            seen = now
            try:
                self.heed(load())
            except config.ConfigError as error:
                log.warning("what is logged stays as it is: %s", "; ".join(error.problems))
            else:
                log.info("%s was changed: logged as it says now", file)


def _version(file: pathlib.Path) -> tuple[int, int] | None:
    """Another one for another content; None while there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
