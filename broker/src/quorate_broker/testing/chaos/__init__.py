"""Chaos on real processes: faults drawn from a seed, real clients, a judge of what they saw.

    python -m quorate_broker.testing.chaos --minutes 20 [--seed 7] [--faults kill-all,pause]
    python -m quorate_broker.testing.chaos --availability 20

Three brokers run in network namespaces and on loop-mounted disks of the test's own. All of it
belongs to the runner's own mount and network namespace, so that the kernel takes it away when the
runner ends, however it ends. Needs root, `ip`, `nft`, `unshare`, `nsenter`, `setpriv`, `mkfs.ext4`.

    __main__  the command line          runner     phases: trouble, heal, wait, judge
    faults    what can be done          machines   network + disks + broker processes
    workload  real clients              history    what the clients saw
    judge     what must never be seen   report     summary, HTML with a timeline

Left out: delay, reordering and duplication of packets (the kernel need not have netem) and jumps of
the wall clock (libfaketime is not a part of the set-up); the simulator has all of them.
Read next: `runner`.
"""
