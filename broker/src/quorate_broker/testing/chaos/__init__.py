"""Chaos on real processes: faults drawn from a seed, real clients, a judge of what they saw.

    python -m quorate_broker.testing.chaos --minutes 20 [--seed 7] [--faults kill-all,pause]
    python -m quorate_broker.testing.chaos --availability 20
    python -m quorate_broker.testing.chaos --slow-disk 30

Three brokers run in network namespaces and on loop-mounted disks of the test's own. All of it
belongs to the runner's own mount and network namespace, so that the kernel takes it away when the
runner ends, however it ends. Needs root and the tools of `__main__.TOOLS`.

    __main__  the command line          runner     phases: trouble, heal, wait, judge
    faults    what can be done          machines   network + disks + broker processes
    workload  real clients              history    what the clients saw
    judge     what must never be seen   report     summary, HTML with a `timeline`
    network, disks, delay, membership   the recipes of the faults

Packets are delayed and reordered by NFQUEUE, since a kernel need not have netem. The brokers run by
`testing.sabotaged`, which makes syncs slow, lets writes fail and moves the wall clock; all else is
done to them from outside. The version before this one comes from the repository's history. Left
out: duplicated packets, which TCP drops.
Read next: `runner`.
"""
