"""What may go wrong with files, apart from the operating system's own `OSError`.

An `OSError` flies up from `log.disk` as it is: the replica that meets one stops serving. The
errors here say what the bytes say. Read `log.log` next.
"""

from __future__ import annotations


class LogError(Exception):
    """Base of the log's own errors."""


class CorruptLogError(LogError):
    """Bytes that were synced are not what was written: this replica must not vote or serve."""


class BelowLogStartError(LogError):
    """The asked index or offset lies before the log's start: only a snapshot can help."""


class JournalError(LogError):
    """The journal of terms and votes cannot be trusted; a node without it must not vote."""


class DataDirError(LogError):
    """The data directory is not ours to use; the message is a sentence for a person."""
