"""The cluster's own memory: topics, partitions, brokers, producer ids.

`records` are what the metadata log holds, `image` is what they add up to, `machine` decides on
commands (`commands`) and writes records; `placement` chooses replicas; `genesis` forms a cluster
out of empty disks. Read `machine` first.
"""
