"""The operator in a world of its own: one thread, one seed, no real time.

Real: observing, planning, applying, the lease. Model: the Kubernetes API with its controllers and
kubelets (`kubernetes.py`), the brokers (`brokers.py`), time (`loop.py`). `world.py` puts them
together and lets things go wrong; `laws.py` says what must never happen. Read next: `world.py`.
"""
