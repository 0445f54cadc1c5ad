"""What tests stand on, so that tests import nothing from tests.

`simulation` and `simulate`: a cluster of real replicas and logs on virtual time, from a seed,
with `simdisk` below it. `processes` and `clients`: clusters of real processes, and real clients
for them. `chaos`: real processes in namespaces of their own, and faults. `transcript`: Raft
scripts that are reviewed as diffs. `stub_node`, `stand`, `memory_log`, `kafka_client`,
`group_bench`, `messages`: stand-ins and generators for one room at a time.
"""
