"""A host's workload windows: one for each of the first 64 bindings, one for everybody else.

Every minute gives as many rows, filled or not, so that neither their size nor their
number says what happened. What no workload's own window says is in the bucket: the
energy of those beyond the budget, of windows of which too little was seen, and of the
first windows of each workload. So all windows together are what was attributed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chipwatt.agent.attribution.workload_window import WindowMaker
from chipwatt.core import coarse
from chipwatt.core.model import Attribution
from chipwatt.core.records import WorkloadWindow
from chipwatt.core.workload import Binding

MIN_WINDOWS: Final = 5
"""A workload is told of from its fifth window on: shorter ones are not told apart."""


@dataclass(slots=True)
class _Account:
    maker: WindowMaker
    seen: int = 0
    """Windows that could have been told."""
    is_modelled: bool = False


@dataclass(slots=True)
class Share:
    """What one workload was given of one second."""

    cells_uj: list[int]
    """Of equal lengths that fill the second."""
    covered_ns: int
    """Time in which all of its chips were seen."""
    is_modelled: bool


class WindowBook:
    """Makes the windows of all workloads of a host."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, _Account] = {}
        self._bucket = WindowMaker(coarse.NOBODY, coarse.NOBODY, 1)
        self._is_stepped = False

    @property
    def unsaid_uj(self) -> int:
        """What was given to workloads that are gone and waits in the bucket to be said."""
        return self._bucket.held_uj

    def open(
        self, bindings: Sequence[Binding], limits_mw: Mapping[bytes, int], all_mw: int
    ) -> None:
        """Let these be the workloads, in the order of their binding, with the limits of each.

        ``all_mw`` is the limit of the host.
        """
        kept = {b.workload_id: b for b in bindings[: coarse.MAX_WORKLOADS]}
        for gone in self._accounts.keys() - kept.keys():
            self._end(gone)
        for workload_id, binding in kept.items():
            limit_mw = max(1, limits_mw[workload_id])
            account = self._accounts.get(workload_id)
            if account is None or account.maker.limit_mw != limit_mw:
                seen = account.seen if account else 0
                self._end(workload_id)
                maker = WindowMaker(workload_id, binding.class_id, limit_mw)
                self._accounts[workload_id] = _Account(maker, seen)
        if self._bucket.limit_mw != max(1, all_mw):
            rest_uj = self._bucket.take_unsaid_uj(ended=True)
            self._bucket = WindowMaker(coarse.NOBODY, coarse.NOBODY, max(1, all_mw))
            self._bucket.include_uj(rest_uj)

    def second(
        self, start_ns: int, length_ns: int, shares: Mapping[bytes, Share], *, stepped: bool
    ) -> None:
        """Take what each workload was given of one second; those without an account share one."""
        self._is_stepped |= stepped
        others: list[int] = []
        for workload_id, share in shares.items():
            account = self._accounts.get(workload_id)
            if account is None:
                zeros = [0] * len(share.cells_uj)
                others = [a + b for a, b in zip(others or zeros, share.cells_uj, strict=True)]
                continue
            account.is_modelled |= share.is_modelled
            _observe(account.maker, start_ns, length_ns, share.covered_ns, share.cells_uj)
        _observe(self._bucket, start_ns, length_ns, length_ns, others or [0])

    def close(self, start_unix_ns: int) -> tuple[WorkloadWindow, ...]:
        """End the minute; return its rows, always as many."""
        rows = []
        for account in self._accounts.values():
            maker = account.maker
            account.seen += maker.is_seen
            window = maker.close(
                start_unix_ns,
                attribution=_method(is_modelled=account.is_modelled),
                withhold=self._is_stepped or account.seen < MIN_WINDOWS,
            )
            account.is_modelled = False
            if window is not None:
                rows.append(window)
            self._bucket.include_uj(maker.take_unsaid_uj())
        bucket = self._bucket.close(
            start_unix_ns, attribution=Attribution.MODELLED, withhold=self._is_stepped
        )
        self._bucket.include_uj(self._bucket.take_unsaid_uj())
        self._is_stepped = False
        if bucket is not None:
            rows.append(bucket)
        rows.sort(key=lambda row: row.workload_id)
        empty = _empty(start_unix_ns)
        return (*rows, *(empty for _ in range(coarse.ROWS - len(rows))))

    def _end(self, workload_id: bytes) -> None:
        account = self._accounts.pop(workload_id, None)
        if account is not None:
            self._bucket.include_uj(account.maker.take_unsaid_uj(ended=True))


def _observe(
    maker: WindowMaker, start_ns: int, length_ns: int, covered_ns: int, cells_uj: Sequence[int]
) -> None:
    if covered_ns * 1_000_000 < coarse.LEAST_COVERAGE_PPM * length_ns:
        # When in this second it was used is not known; all of it stays counted.
        if covered_ns > 0:
            maker.observe_energy(start_ns, sum(cells_uj), covered_ns)
        else:
            maker.include_uj(sum(cells_uj))
        return
    count, from_ns = len(cells_uj), 0
    for number, cell_uj in enumerate(cells_uj, start=1):
        to_ns = number * length_ns // count
        maker.observe_energy(start_ns + from_ns, cell_uj, to_ns - from_ns)
        from_ns = to_ns


def _method(*, is_modelled: bool) -> Attribution:
    return Attribution.MODELLED if is_modelled else Attribution.EXACT


def _empty(start_unix_ns: int) -> WorkloadWindow:
    return WorkloadWindow(
        workload_id=coarse.NOBODY,
        class_id=coarse.NOBODY,
        start_unix_ns=start_unix_ns,
        duration_ns=coarse.WINDOW_NS,
        attribution=Attribution.EXACT,
        limit_mw=0,
        energy_steps=0,
        occupancy=(0,) * coarse.POWER_CLASSES,
        swing_class=0,
    )
