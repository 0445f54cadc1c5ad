"""The real Kubernetes that Quorate's demo and tests run on, with or without Docker.

Read `cluster.py` first: it is the one interface that everything else speaks to. Behind it stand
`kind.py` (where a Docker engine answers) and `local/` (everywhere else: the same Kubernetes in
namespaces of our own). `images.py` builds what runs in it, `demo.py` shows it, `suite.py` tests it.
"""
