"""The log on disk: segments, recovery, the journal of votes, the data directory.

What decides is in memory and pure; what blocks is handed out as a job and runs in a disk thread;
only `disk` touches the operating system. `log` is the door: `layout` is the log's shape, `told`
what its own entries said, `tail` its newest entries in memory, `flushing` what is due on disk and
`jobs` the blocking work, `recovery` what opening does after a crash, `checkpoint`, `index` and
`statefile` what it finds there. `cleaner` compacts, `scrub` looks for rot. `journal` keeps terms
and votes, `datadir` says who owns the directory. `errors` has a table of what fails and what comes
of it. Read `log` first, then `recovery`.
"""
