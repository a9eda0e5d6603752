"""Signals as something to wait for."""

from __future__ import annotations

import os
import signal

import pytest

from chipwatt.cli.interrupts import Interrupts


def test_without_a_signal_the_wait_ends_by_itself() -> None:
    with Interrupts() as stop:
        assert not stop.wait(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_wait_the_second_everything(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interrupts() as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
