"""Raft as a pure state machine: the same core for metadata and for every partition.

`core` is the door and says how to drive it; `state` draws the roles; `election`, `leading` and
`following` hold the rules with their sources; `changes` moves the `membership`, `snapshots` help
who is far behind, `resting` is for groups in which nothing happens; `progress` is what a leader
knows of one follower, `quorum` counts, `messages` and `encoding` are what members say to each
other. The log comes in through `ports`. No clock, no I/O, no dice of its own. Read `messages`
first, then `core`.
"""
