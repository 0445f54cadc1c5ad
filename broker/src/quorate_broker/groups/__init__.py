"""Consumer groups: the classic protocol and committed offsets, as a pure state machine.

One `coordinator.Coordinator` lives on each partition of `__consumer_offsets` and serves the groups
whose ids hash to it (`placement`). The tour: `states` draws the life of a group, `group` holds one
group's members, `rebalance` decides on joins, syncs, heartbeats and time-outs, `offsets` on
commits, `records` is what stands in the log, and `coordinator` puts them behind
`wire.outcome.Machine`.

Nothing here reads a clock, awaits, or knows which version of a request a client spoke.
"""
