"""How often all partitions are looked through when something has changed.

Who looks at every partition must not do it for every one of them: when a thousand are opened, a
thousand leaders are elected within seconds. What changes meanwhile shares the next look, and the
looks of a large broker are further apart. Read next: `view`, `steering`.
"""

from __future__ import annotations

AT_LEAST_S = 0.02
SHARE = 50


def pause_s(partitions: int, each_us: int) -> float:
    """Between two looks over so many partitions: so that all of them cost a fiftieth of a core.

    `each_us` is about what one partition costs.
    """
    return max(AT_LEAST_S, partitions * each_us * SHARE / 1e6)
