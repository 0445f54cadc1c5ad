"""What all machines of a run share. Next: `machine`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate_broker.testing.simulation.clock import Scheduler
from quorate_broker.testing.simulation.whole.options import Options
from quorate_broker.testing.simulation.whole.tcp import Fabric
from quorate_broker.testing.simulation.whole.watch import Watch


@dataclass(slots=True)
class Cluster:
    """Made by `whole.run`."""

    scheduler: Scheduler
    dice: random.Random
    options: Options
    fabric: Fabric
    seen: Counter[str]
    trace: Callable[[str], None]
    watch: Watch
    troubles: list[str] = field(default_factory=list)
    """Exceptions that nobody handled."""
