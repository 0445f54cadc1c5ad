"""What may go wrong with files, apart from the operating system's own `OSError`.

An `OSError` flies up from `log.disk` as it is; the errors here say what the bytes say. What fails
has one outcome each (`tests/broker/log/test_steps.py` injects an error at every single operation):

    in a job        any operation       Job.run raises and Log.failed is set, for good: no further
                                        job, no sync again, synced_index stays. The replica is
                                        fenced; opening again finds all that was synced
                    preallocate         no room or no such call: nothing; the write will tell
    in opening      any operation       Log.open raises, nothing stays open, it may be called again
    in a read       open, pread         the caller's OSError; the log goes on
    anywhere        close               nothing: what counts was synced before
    in the journal  any operation       JournalJob.run raises, StateJournal.failed: the node ends
    bad bytes       opening, a read     CorruptLogError and Log.corrupt, for good

Read `log.log` next.
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
