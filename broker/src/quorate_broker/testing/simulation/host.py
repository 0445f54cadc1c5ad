"""One machine: its disk, its clock, and the process on it, if one runs.

A kill ends the process and leaves the disk's cache, a power cut takes what was not synced with it
and may come in the middle of a job, or of the recovery after the last one. The disk may also lie:
errors on any operation, a wrong byte in a read, bytes that rot. Next: `process`.
"""

from __future__ import annotations

import errno

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log.errors import CorruptLogError, JournalError
from quorate_broker.log.journal import StateJournal
from quorate_broker.log.log import LogSettings
from quorate_broker.raft import membership
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.testing.simulation.checkers import Known, must
from quorate_broker.testing.simulation.clock import Event, HostClock
from quorate_broker.testing.simulation.observed import (
    GROUP,
    JOURNAL_PATH,
    LOG_PATH,
    ObservedLog,
    entries,
    hard_state,
)
from quorate_broker.testing.simulation.process import Input, Process, holds
from quorate_broker.testing.simulation.world import World

_SLOW_US = 400_000


class Host:
    """One node, up or down."""

    def __init__(self, world: World, peer: Peer) -> None:
        dice = world.dice
        drift = world.options.drift
        self.peer = peer
        self.node = peer.node_id
        self.clock = HostClock(
            world.scheduler,
            dice.randint(0, 1_000_000_000),
            1_000_000 + dice.randint(-drift, drift),
            dice.randint(-5_000, 5_000),
        )
        self.disk = SimDisk(dice)
        self.disk.misread = self._misread
        self.process: Process | None = None
        self.paused_until_us = 0
        self.short_until_us = 0
        self.slow_until_us = 0
        self.has_faults = True
        self.is_rotten = False
        """A byte that was on disk for good has changed, or what it synced has a hole before it."""
        self.durable_term = 0
        self._world = world
        self._log: ObservedLog | None = None
        """Of the last process: what the disk had synced, also while the node is down."""
        self._ended: tuple[int, int] = (-1, 0)
        self._lost: dict[Peer, int] = {}
        """How far the disks of earlier incarnations, and folders set aside, were synced."""
        self.is_a_comer = False
        """It joined after the group was founded, or was removed from it once."""
        self._wants_aside = False
        self._is_doubted = False
        """It misread something, and may give its folder up for that."""
        self._is_hollow = False
        """Its folder was lost or never there, and is not filled again for good."""
        self._misreads = 0

    @property
    def is_up(self) -> bool:
        return self.process is not None

    @property
    def is_short(self) -> bool:
        """Less room than the reserve."""
        return self._world.scheduler.now_us < self.short_until_us

    @property
    def is_spoiled(self) -> bool:
        """Some of its bytes may be bad or gone."""
        if self._is_hollow and self.process is not None and self.process.is_filled:
            self._is_hollow = False
        return self._is_hollow or self.is_rotten or self._is_doubted or self.disk.holed

    @property
    def may_lie(self) -> bool:
        """Its bytes may be bad, and it does not know."""
        return self.is_rotten or self._is_doubted or self.disk.holed

    def halves(self) -> tuple[frozenset[Peer], ...]:
        """Of the membership that its log knows."""
        if self._log is None:
            return ()
        members = membership.decode(self._log.membership[1])
        return members.halves if members.voters else ()

    @property
    def is_failed(self) -> bool:
        return self.process is not None and self.process.is_failed

    # ------------------------------------------------------------------------- starting, stopping

    def start(self) -> None:
        """Recover from the disk and take part; when that fails, it is down."""
        assert self.process is None
        world, disk = self._world, self.disk
        self._misreads = 0
        if self._wants_aside:
            self._wants_aside = False
            self._set_aside()
        disk.fault = self._fault
        if self.has_faults and world.dice.random() < 0.05:
            disk.cut_power_after = world.dice.randint(0, 12)
        try:
            journal, log = self._open()
        except PowerCutError:
            world.seen["power cut during recovery"] += 1
            world.trace(f"{self.node} loses power while it recovers")
            self._crash_disk()
        except OSError as error:
            world.seen["recovery failed"] += 1
            world.trace(f"{self.node} cannot recover: {error}")
            disk.fault = None
            disk.cut_power_after = None
        except JournalError as error:
            must(False, f"H: node {self.node} cannot read a journal of two copies: {error}")
        else:
            self._begin(journal, log)

    def _open(self) -> tuple[StateJournal, ObservedLog]:
        options, disk = self._world.options, self.disk
        sizes = LogSettings(options.segment_bytes, 256, 4_096, options.cache_bytes)
        journal = StateJournal.open(disk, JOURNAL_PATH)
        disk.mkdirs(LOG_PATH)
        now_ms = self.clock.wall_ms()
        founding = self._founding(journal)
        log = ObservedLog.open(disk, LOG_PATH, sizes, now_ms, founding=founding)
        if log.corrupt is not None:
            self.doubt(log.corrupt)
            self._set_aside()
            log = ObservedLog.open(disk, LOG_PATH, sizes, now_ms, founding=None)
        assert isinstance(log, ObservedLog)
        return journal, log

    @property
    def founders(self) -> tuple[Peer, ...]:
        return self._world.founders

    def _founding(self, journal: StateJournal) -> bytes | None:
        """Who founds the group knows its members; whoever comes later, or again, is told them."""
        founders = self._world.founders
        if self.peer not in founders or self.is_a_comer or GROUP in journal.states:
            return None
        return membership.of(founders).encode()

    def _set_aside(self) -> None:
        """As `DataDir.retire_group`: the folder is kept, and never looked at again."""
        self._lost[self.peer] = max(self._ended[0], self._lost.get(self.peer, -1))
        self._ended = (-1, 0)
        self._is_hollow = True
        self.is_rotten = self._is_doubted = False
        self.disk.holed = False
        if self.disk.exists(LOG_PATH):
            self.disk.rmtree(LOG_PATH)
        self.disk.mkdirs(LOG_PATH)
        self.disk.sync_dir("/data/groups")
        self._world.seen["set aside"] += 1
        self._world.trace(f"{self.node} sets its folder aside")

    def _begin(self, journal: StateJournal, log: ObservedLog) -> None:
        world, disk = self._world, self.disk
        hard = hard_state(journal)
        must(hard.term >= self.durable_term, f"E: node {self.node} forgot its term")
        disk.cut_power_after = None
        disk.fault = None
        if log.hollow:
            self._is_hollow = True
            world.seen["hollow"] += 1
        if not self.is_rotten:
            disk.holed = False  # whatever it lost was not synced, and is cut off
            before, disk.misread = disk.misread, None
            behind = log.first_index - 1
            found = (behind, log.term_at(behind) or 0), entries(log, log.first_index)
            world.checkers.recovered(self.node, found, self._ended, hard)
            disk.misread = before
        world.seen["torn tail cut"] += log.recovery.torn_bytes > 0
        world.seen["tail copied"] += log.recovery.copied_bytes > 0
        disk.fault = self._fault
        world.trace(f"{self.node} starts in term {hard.term} at {log.last_index}")
        self._log = log
        try:
            process = Process(world, self, journal, log)
        except (OSError, CorruptLogError) as error:
            self._cannot_start(error)
        else:
            self.process = process
            process.check_producers()
            process.drive()

    def _cannot_start(self, error: Exception) -> None:
        """Producers are read back from the log, which may be rotten there."""
        must(
            self.is_rotten or self._misreads > 0 or isinstance(error, OSError),
            f"H: node {self.node} takes sound bytes for rot: {error}",
        )
        self._world.seen["producers not restored"] += 1
        self._wants_aside = isinstance(error, CorruptLogError)
        self.disk.fault = None

    def doubt(self, why: str) -> None:
        """The log is taken for corrupt: there must be a reason."""
        must(
            self.is_spoiled or self._misreads > 0,
            f"H: node {self.node} takes sound bytes for rot: {why}",
        )
        if self.is_rotten:
            self._world.seen["rot found"] += 1
        elif self.disk.holed:
            self._world.seen["hole taken for rot"] += 1
        else:
            self._world.seen["misread taken for rot"] += 1

    def power_cut(self) -> None:
        """Everything that was not synced may be gone; a job may be cut in two."""
        process = self.process
        if process is None:
            return
        dice, disk = self._world.dice, self.disk
        for job in process.jobs:
            if job.error is not None or dice.random() < 0.3:
                continue
            disk.fault = None
            disk.cut_power_after = dice.choice((0, 1, 1, 1, 2, 2, 2, 3, 4, 6, 9))
            try:
                job.run()
                self._world.seen["power cut behind a job"] += 1
            except PowerCutError:
                self._world.seen["power cut within a job"] += 1
                break
            except OSError:  # no room
                continue
        self._world.trace(f"{self.node} loses power")
        self._end(process)
        self._crash_disk()

    def _crash_disk(self) -> None:
        options = self._world.options
        self.disk.hole_rate = options.hole if self._world.may_spoil(self) else 0.0
        was_holed = self.disk.holed
        self.disk.crash()
        self.disk.holed |= was_holed

    def doom(self, end: Event) -> None:
        """Let `end` happen when the next disk job is under way."""
        if self.process is not None:
            self.process.doom = end

    def kill(self) -> None:
        """The process is gone, its writes are in the machine's cache."""
        process = self.process
        if process is None:
            return
        self.disk.fault = None
        for job in process.jobs:
            if job.error is None and self._world.dice.random() < 0.5:
                try:
                    job.run()
                except OSError:  # no room
                    continue
        self._world.trace(f"{self.node} is killed")
        self._end(process)

    def stop(self) -> None:
        """A clean stop, once no job is under way."""
        process = self.process
        if process is None or not self.has_faults:
            return
        process.is_closing = True
        if process.is_failed or process.is_busy:
            return
        try:
            process.log.close()
            process.journal.close()
        except OSError as error:
            self._world.seen["clean stop failed"] += 1
            self._world.trace(f"{self.node} does not stop cleanly: {error}")
        else:
            self._world.seen["clean stop"] += 1
            self._world.trace(f"{self.node} stops")
        self._end(process)

    def close_if_asked(self) -> None:
        if self.process is not None and self.process.is_closing:
            self.stop()

    def heal(self) -> None:
        """No more faults, and no stop that was asked for and not done."""
        self.has_faults = False
        self._is_doubted = False
        self.disk.capacity = 1 << 40
        self.slow_until_us = 0
        if self.process is not None:
            self.process.is_closing = False
            self.process.doom = None

    def _end(self, process: Process) -> None:
        if self._is_hollow and process.is_filled:
            self._is_hollow = False
        if process.is_corrupt:
            self._wants_aside = True
        else:
            self._is_doubted = False
        log = process.log
        if log.recovery.corrupt is None:
            index = log.synced_index
            self._ended = (index, log.term_at(index) or 0)
        self.process = None
        self.paused_until_us = 0
        self.disk.fault = None
        process.end()

    # -------------------------------------------------------------------------------------- inputs

    def give(self, what: Input) -> None:
        """Something comes in: now, or when the process wakes; nowhere if there is none."""
        process = self.process
        if process is None:
            return
        if self._world.scheduler.now_us < self.paused_until_us:
            process.later(0, lambda: what(process))
        else:
            what(process)

    def receive(self, sender: Peer, to: Peer, message: Message) -> None:
        """As the lines between brokers do: nothing reaches another incarnation."""
        if to == self.peer:
            self.give(lambda process: process.receive(sender, message))
        else:
            self._world.seen["message to the one before"] += 1

    def wipe(self) -> None:
        """Another disk, empty: somebody else under the same number."""
        assert self.process is None
        if self._log is not None:
            self._lost[self.peer] = max(self._ended[0], self._lost.get(self.peer, -1))
        self._ended = (-1, 0)
        self._log = None
        self.is_a_comer = True
        self.is_rotten = self._is_doubted = False
        self.durable_term = 0
        self._is_hollow = True
        self.disk = SimDisk(self._world.dice)
        self.disk.misread = self._misread
        self.peer = self._next_peer()
        self._world.trace(f"{self.node} has an empty disk: {self.peer.incarnation}")

    def _next_peer(self) -> Peer:
        name, _, number = self.peer.incarnation.partition(".")
        return Peer(self.node, f"{name}.{int(number or 0) + 1}")

    def remove(self) -> None:
        """The group has settled without it: its folder goes. Its term and vote stay."""
        process = self.process
        if process is None or process.is_busy or process.is_failed:
            return
        self._end(process)
        try:
            process.journal.close()
            self.disk.rmtree(LOG_PATH)
            self.disk.sync_dir("/data/groups")
        except OSError as error:
            self._world.trace(f"{self.node} cannot remove its replica: {error}")
            return
        self._lost[self.peer] = max(self._ended[0], self._lost.get(self.peer, -1))
        self._ended = (-1, 0)
        self._log = None
        self.is_a_comer = True
        self._is_hollow = True
        self._world.seen["removed"] += 1
        self._world.trace(f"{self.node} removes its replica")

    # ---------------------------------------------------------------------------------------- disk

    def sync_us(self) -> int:
        """How long the next job takes."""
        options, dice = self._world.options, self._world.dice
        if self.has_faults and dice.random() < options.slow_sync:
            self._world.seen["slow sync"] += 1
            return 1_000_000
        quick_us = dice.randint(options.sync_low_us, options.sync_high_us)
        return quick_us + _SLOW_US * (self._world.scheduler.now_us < self.slow_until_us)

    def _fault(self, operation: str, path: str) -> int | None:
        """Whether an operation fails. `rmtree` and `exists` say nothing about disks."""
        if not self.has_faults:
            return None
        options, dice = self._world.options, self._world.dice
        rate = options.disk_error if operation != "exists" else 0.0
        if operation in ("sync", "pwrite"):
            rate += options.sync_error
        if rate and dice.random() < rate:
            self._world.seen[f"EIO in {operation}"] += 1
            return errno.EIO
        return None

    def _misread(self, path: str, size: int) -> int | None:
        """Which byte of a read is wrong; never where nobody could make it good."""
        rate = self._world.options.misread
        if not rate or not self.has_faults or self._world.dice.random() >= rate:
            return None
        if not self._world.may_spoil(self):
            return None
        self._misreads += 1
        self._is_doubted = True
        self._world.trace(f"{self.node} misreads {path}")
        kind = path.rpartition(".")[2] if "." in path else path.rpartition("/")[2]
        self._world.seen[f"misread {'journal' if path == JOURNAL_PATH else kind}"] += 1
        return self._world.dice.randrange(size)

    def rot(self) -> str | None:
        """Change a byte that was synced; what it belongs to, None if there is none.

        Of a journal, where every block is there twice; of an index, which can be made again; of a
        checkpoint; of a segment, but not of its last batch: whether those bytes were ever synced
        nobody can tell. While a process runs, of what it has sealed.
        """
        if not self.disk.exists(LOG_PATH):
            return None
        dice = self._world.dice
        names = [f"{LOG_PATH}/{name}" for name in self.disk.listdir(LOG_PATH)]
        segments = [name for name in names if name.endswith(".log")]
        choices = [*segments[:-1], *segments[:-1]]
        if self.process is None:
            choices += [name for name in names if name.endswith((".qindex", "checkpoint"))]
            choices.append(JOURNAL_PATH)
            choices += segments[-1:] if self._sound_bytes(segments) else []
        if not choices:
            return None
        path = dice.choice(choices)
        size = len(self.disk.content(path))
        if path in segments[-1:]:
            size = self._sound_bytes(segments)
        if not size:
            return None
        self.disk.flip(path, dice.randrange(size), 1 << dice.randrange(8))
        if path.endswith((".log", "checkpoint")):
            self.is_rotten = True
        return "journal" if path == JOURNAL_PATH else path.rpartition(".")[2].rpartition("/")[2]

    def _sound_bytes(self, segments: list[str]) -> int:
        """How many bytes of the newest segment the checkpoint speaks for."""
        if not segments or not self.disk.exists(f"{LOG_PATH}/{checkpoints.NAME}"):
            return 0
        known = checkpoints.decode(self.disk.content(f"{LOG_PATH}/{checkpoints.NAME}"))
        base = int(segments[-1].rpartition("/")[2].partition(".")[0])
        return sum(facts.size for facts in known.segments if facts.base_offset == base)

    # -------------------------------------------------------------------------------------- checks

    def holds(self, peer: Peer, entry: Known) -> bool:
        """Whether the disk of `peer`, this one or an earlier one here, has the entry for good.

        What it acknowledged while it was sound counted rightly.
        """
        if entry.last_index <= self._lost.get(peer, -1):
            return True
        if peer != self.peer or self._log is None:
            return False
        return (self.is_rotten and entry.last_index <= self._ended[0]) or holds(self._log, entry)

    def scrub(self) -> None:
        """Read everything: rot is found, or was cut off meanwhile."""
        process = self.process
        if process is None or process.is_failed:
            return
        log = process.log
        try:
            for _ in entries(log, log.first_index):
                pass
        except CorruptLogError as error:
            must(self.is_rotten, f"H: node {self.node} takes sound bytes for rot: {error}")
            self._world.seen["rot found by scrubbing"] += 1
            process.failed(error)
            process.drive()
            self.kill()
            self.start()
        else:
            self.is_rotten = self.disk.holed = False

    def must_agree(self) -> None:
        """At the end: the whole log, read back, is the one history."""
        log, canon = self._log, self._world.checkers.canon
        assert log is not None
        wanted = [entry for entry in canon if entry.first_index >= log.first_index]
        found = list(entries(log, log.first_index))
        must(found == wanted, f"B: node {self.node} has another history")
