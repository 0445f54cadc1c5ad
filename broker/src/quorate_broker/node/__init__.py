"""The composition root of a broker node: it makes every part and decides nothing about records.

`main` builds, starts and stops them in an order readable top-down; the others are the places
where parts meet: `disks` (threads), `shelf` (replicas), `formation` (empty disk to member),
`controller` (metadata), `leaders` (soft state), `context` (the Kafka API's view), `view` (the
Admin API's view), `flank`, `transfer`, `requests`.
"""

from quorate_broker.node.main import run

__all__ = ["run"]
