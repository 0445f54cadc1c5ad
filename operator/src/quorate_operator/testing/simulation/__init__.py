"""The operator in a world of its own: one thread, one seed, no real time.

Real: the lease, the workers, observing, planning, applying. Model: the Kubernetes API (`api.py`)
with its objects (`cluster.py`), controllers and kubelets (`controllers.py`), the brokers
(`brokers.py`) and the way to them (`hearing.py`), time (`loop.py`). `process.py` is one operator,
`people.py` what befalls everybody, `laws.py` what must never happen, `world.py` puts them together.
`stories.py` kills the operator after each of its effects, `mutations.py` takes safeguards away.

Read next: `world.py`.
"""
