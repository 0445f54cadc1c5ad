"""What the operator counts. Label sets are closed; the README has a row for each."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECONCILES: Final = Counter(
    "quorate_operator_reconciles_total", "Passes over a cluster", ["result"]
)
"""result: done, refused, failed, gone, invalid"""
RECONCILE_SECONDS: Final = Histogram(
    "quorate_operator_reconcile_seconds",
    "How long a pass took",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
WRITES: Final = Counter("quorate_operator_writes_total", "Writes to the Kubernetes API", ["what"])
"""what: child, label, volume, permit, restart, status, event"""
REQUESTS: Final = Counter(
    "quorate_operator_kubernetes_requests_total", "Requests by answer", ["method", "code"]
)
"""code: 2xx, 4xx, 5xx, none"""
RESTARTS: Final = Counter("quorate_operator_restarts_total", "Brokers restarted", ["reason"])
"""reason: plan.outdated.Why"""
BLOCKED: Final = Gauge(
    "quorate_operator_blocked", "Clusters in which something is held back", ["reason"]
)
"""reason: plan.blocked.Reason"""
BROKER_CALLS: Final = Counter(
    "quorate_operator_broker_calls_total", "What brokers were asked to change", ["what"]
)
"""what: Transfer, Decommission, Readmit, Configure, RaiseLevel; stands still in a steady state"""
LOOP_LAG_SECONDS: Final = Gauge(
    "quorate_operator_loop_lag_seconds", "How late the event loop last turned"
)
ACTIVE: Final = Gauge("quorate_operator_active", "1: this is the active operator, 0: the standby")
CLUSTERS: Final = Gauge("quorate_operator_clusters", "Clusters that are looked after")
BROKER_ANSWERS: Final = Counter(
    "quorate_operator_broker_answers_total", "Answers of brokers to the watch", ["result"]
)
"""result: answered, silent"""
