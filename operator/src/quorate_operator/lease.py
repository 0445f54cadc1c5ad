"""One active operator, the others ready to take over: a `Lease` of the Kubernetes API.

    standby --nobody renewed it for its whole duration, by our own clock--> active
    active  --renewed every few seconds------------------------------------> active
    active  --not renewed in time, or another name in it-------------------> the process ends
    active  --told to stop: the name is taken out--------------------------> the next one at once

Clocks of two machines are never compared: who waits measures how long the record has stood still.
An active operator stops writing (`may_write`) well before anybody else may begin, and what it had
decided by then fails by its preconditions (`plan/permit.py`).

Read next: `__main__.py`, which runs everything else under it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable
from typing import Final

from quorate_operator.facts import Json
from quorate_operator.kube import KubeError, Talker
from quorate_operator.seams import Clock

LOGGER: Final = logging.getLogger(__name__)
KIND: Final = "Lease"


class LeaseLost(Exception):
    """Another operator may be active by now: this process has to end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. A take-over after a crash comes within duration + 2 x retry."""

    duration_s: float = 15.0
    deadline_s: float = 10.0
    """Not renewed for so long: stop. Less than the duration by more than a request takes."""
    retry_s: float = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """The lease as it was read, and when it was first read like that, by our clock."""

    holder: str
    version: str
    transitions: int
    since_s: float


class Lease:
    """One process's part in it."""

    def __init__(
        self,
        kube: Talker,
        place: tuple[str, str],
        me: str,
        clock: Clock,
    ) -> None:
        self._kube = kube
        self._namespace, self._name = place
        self._me = me
        self._clock = clock
        self._timing = Timing()
        self._record: Record | None = None
        self._renewed_s: float | None = None

    def may_write(self) -> bool:
        """Whether this process is certainly the only active one."""
        last = self._renewed_s
        return last is not None and self._clock.monotonic() - last < self._timing.deadline_s

    async def acquire(self) -> None:
        """Returns when this process is the active one."""
        told = ""
        while True:
            started_s = self._clock.monotonic()
            try:
                if await self._try(started_s):
                    LOGGER.info("active")
                    return
            except KubeError as error:
                LOGGER.warning("cannot have a look at the lease: %s", error.message)
            holder = self._record.holder if self._record else ""
            if holder != told:
                LOGGER.info("standby: %s is active", holder)
                told = holder
            await asyncio.sleep(self._timing.retry_s)

    async def keep(self) -> None:
        """Renews until it is lost: then LeaseLost."""
        while True:
            await asyncio.sleep(self._timing.retry_s)
            started_s = self._clock.monotonic()
            try:
                if not await self._try(started_s):
                    raise LeaseLost("another operator holds the lease")
            except KubeError as error:
                LOGGER.warning("cannot renew the lease: %s", error.message)
            if not self.may_write():
                raise LeaseLost(f"not renewed for {self._timing.deadline_s:g} s")

    async def release(self) -> None:
        """Whoever waits need not wait any longer."""
        if self._record is None or not self.may_write():
            return
        self._renewed_s = None
        try:
            await self._write(self._record, "")
        except KubeError as error:
            LOGGER.info("the lease runs out by itself: %s", error.message)

    async def _try(self, now_s: float) -> bool:
        """One look, and one write where it is ours or nobody's. True: it is ours since `now_s`."""
        record = await self._read(now_s)
        if record is None:
            return await self._won(self._create(), now_s)
        if record.holder not in ("", self._me) and not self._ran_out(record, now_s):
            return False
        return await self._won(self._write(record, self._me), now_s)

    def _ran_out(self, record: Record, now_s: float) -> bool:
        return now_s - record.since_s >= self._timing.duration_s

    async def _won(self, write: Awaitable[object], now_s: float) -> bool:
        try:
            await write
        except KubeError as error:
            if error.status == 409:  # somebody was faster
                return False
            raise
        self._renewed_s = now_s
        return True

    async def _read(self, now_s: float) -> Record | None:
        found = await self._kube.get(KIND, self._namespace, self._name)
        if found is None:
            return None
        spec, version = found.get("spec", {}), found["metadata"]["resourceVersion"]
        known = self._record
        since_s = known.since_s if known and known.version == version else now_s
        self._record = Record(
            spec.get("holderIdentity") or "", version, spec.get("leaseTransitions") or 0, since_s
        )
        return self._record

    async def _create(self) -> None:
        found = await self._kube.create(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": KIND,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec(self._me, 0),
            }
        )
        self._note(found, self._me, 0)

    async def _write(self, record: Record, holder: str) -> None:
        transitions = record.transitions + (holder not in ("", record.holder))
        body = {
            "metadata": {"resourceVersion": record.version},
            "spec": self._spec(holder, transitions),
        }
        found = await self._kube.merge(KIND, self._namespace, self._name, body)
        self._note(found, holder, transitions)

    def _note(self, found: Json, holder: str, transitions: int) -> None:
        version = found["metadata"]["resourceVersion"]
        self._record = Record(holder, version, transitions, self._clock.monotonic())

    def _spec(self, holder: str, transitions: int) -> dict[str, object]:
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self._timing.duration_s),
            "renewTime": now,
            "leaseTransitions": transitions,
        }
