"""The Admin API: what supervisors, consoles and operators ask a node.

Paths and fields are those of Redpanda's Admin API, so that its tools work unchanged. `view` is
what the node must offer, `shapes` turns it into JSON (pure), `app` puts it behind paths, `metrics`
is the Prometheus page, `serve` runs any such app inside the node's own event loop (the HTTP Proxy
too), `flanking_registry` is the soft state behind /v1/flanking. Read next: `view`, then `app`.
"""
