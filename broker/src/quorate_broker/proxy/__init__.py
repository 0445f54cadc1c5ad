"""The HTTP Proxy: topics and ingest over plain HTTP, for those who have no Kafka client.

`app` speaks HTTP and stands on one small port (`port.ProxyPort`) with two shells: `local`, inside
a broker, and `remote`, inside a flanking node, where aiokafka speaks to the brokers. `payload`
decodes and encodes bodies, `partitioner` chooses partitions as Kafka's clients do; both are pure.
Read next: `port`, then `app`.
"""
