"""A steady load from a client pod while things are being broken: numbers, acks=all, read back.

The script (`scripts/load.py`) runs in the pod by itself, with two named pipes to speak to it, so
that it goes on while the API server, or the way to it, is away: every question is a `kubectl exec`
of its own.
"""

import dataclasses
import json

from quorate_bed import kube

DEFAULT_PATIENCE_S = 40
"""aiokafka's own request timeout: what a client that nobody has configured waits."""
ANSWER_S = 70
FINISH_S = 120
START = """
cat >/tmp/load.py && cd /tmp && rm -f "$2".in "$2".out && mkfifo "$2".in "$2".out || exit
nohup python3 load.py "$1" "$2" "$3" <>"$2".in 1<>"$2".out 2>"$2".err &
echo $! >"$2".pid
"""
ASK = """
cd /tmp && kill -0 "$(cat "$1".pid)" && echo "$2" >"$1".in &&
    said=$(timeout "$3" head -n 1 "$1".out) && [ -n "$said" ] && echo "$said" && exit
cat "$1".err >&2; exit 1
"""
END = 'cd /tmp && kill -KILL "$(cat "$1".pid)" 2>/dev/null; rm -f "$1".*'


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What was written and what was read back from the beginning of each partition."""

    acknowledged: int
    failed: list[str]
    """Errors that reached the application, after all retries of the client."""
    read: int
    lost: list[int]
    """Acknowledged numbers that do not stand at the offset that was acknowledged."""
    gaps: list[str]
    """Offsets that are missing."""
    disordered: list[str]
    """Numbers that stand behind a greater one of their partition, or stand there twice."""
    slowest_ms: int

    def check(self) -> None:
        """No client saw an error, and every acknowledged record is readable, once, in the order
        of writing."""
        assert not self.failed, self
        assert self.acknowledged > 0, self
        assert self.read >= self.acknowledged, self
        assert not self.lost, self
        assert not self.gaps, self
        assert not self.disordered, self


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Numbers that are written one after the other to a topic, and what became of them."""

    client: kube.ClientPod
    topic: str

    def start(self, bootstrap: str, patience_s: int) -> None:
        words = ("sh", "-c", START, "load", bootstrap, self.topic, str(patience_s))
        self.client.run(*words, stdin=kube.script("load.py"))

    def goes_on(self) -> int:
        """A record begun after this call was acknowledged in each partition. How many are by now.

        Raises CommandError, with what the script said, when that takes too long.
        """
        return int(self._ask("", ANSWER_S))

    def finish(self) -> Written:
        """It goes on to the end, and nothing is wrong with what was written."""
        self.goes_on()
        written = Written(**json.loads(self._ask("end", FINISH_S)))
        written.check()
        return written

    def end(self) -> None:
        """Whatever it was doing, it is gone."""
        self.client.run("sh", "-c", END, "load", self.topic)

    def _ask(self, line: str, deadline_s: int) -> str:
        words = ("sh", "-c", ASK, "load", self.topic, line, str(deadline_s))
        return self.client.run(*words, stdin="", timeout_s=deadline_s + 30)
