"""One replica of one log, driven.

`replica` is the sans-I/O union of a Raft core, a log and the producers' table; `shell` gives it
sockets, disk threads and the event loop, and callers futures; `hosted` runs a state machine on
top of one. Read `replica` first, then `shell`.
"""
