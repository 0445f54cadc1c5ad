"""A whole cluster in one thread: virtual time, faulty network, faulty disks, one seed.

Read `world` for the loop, `options` for what a seed draws, `host` for a node around the real
replica and log, `network`, `clients` and `faults` for what happens to them, `checkers` for what
must hold after every event.
"""
