"""A Kubernetes of our own where there is no Docker: real components in namespaces of our own.

A cluster is one process tree in one set of namespaces (process ids, mounts, network, IPC, host
name). Its first process (`anchor.py`) does nothing but wait; when it is killed, the kernel ends
every process below it, and with them go the mounts, the network devices and the loop devices. So
`delete` has one thing to kill, and a cluster that was killed half-way leaves no more behind than a
whole one.

    provider.py   what is done from outside: create, delete, load, kill
    anchor.py     the step into the namespaces
    keeper.py     what runs inside: brings everything up, then relays and provisions
    network.py, pki.py, control_plane.py, node.py, dns.py     the parts, in the order of bring-up
    volumes.py    the storage provisioner      relay.py   the way in from an ordinary shell
"""
