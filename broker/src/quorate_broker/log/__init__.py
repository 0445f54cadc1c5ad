"""The log on disk: segments, recovery, the journal of votes, the data directory.

What decides is in memory and pure; what blocks is handed out as a job and runs in a disk thread;
only `disk` touches the operating system. `log` is the door: `layout` is the log's shape, `tail`
its newest entries in memory, `jobs` the blocking work, `recovery` what opening does after a
crash, `checkpoint` and `index` what it finds there. `journal` keeps terms and votes, `datadir`
says who owns the directory. Read `log` first, then `recovery`.
"""
