"""Signals are delivered for real, to this process."""

import signal
import threading

import pytest

from object_detection_mtl.training.interruption import GracefulStop, TrainingInterruptedError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_step(number, capsys):
    before = signal.getsignal(number)
    with GracefulStop() as stop:
        stop.check()
        signal.raise_signal(number)
        with pytest.raises(TrainingInterruptedError) as interruption:
            stop.check()
    assert interruption.value.signal_number == number
    assert signal.getsignal(number) is before
    assert f"{signal.Signals(number).name}: saving a checkpoint" in capsys.readouterr().err


def test_the_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), GracefulStop():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_nothing_is_installed():
    before, seen = signal.getsignal(signal.SIGINT), []

    def run():
        with GracefulStop() as stop:
            seen.append(signal.getsignal(signal.SIGINT))
            stop.check()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
