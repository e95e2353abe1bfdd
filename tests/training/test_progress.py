"""The progress line, with a clock of our own."""

import io

from object_detection_mtl.training.progress import TrainingProgress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def make(num_steps=1000, batch_size=2, start=0, tty=False):
    stream, clock = io.StringIO(), Clock()
    stream.isatty = lambda: tty
    return TrainingProgress(num_steps, batch_size, start, stream=stream, clock=clock), stream, clock


def never():
    raise AssertionError("the loss was read although nothing is shown")


def test_lines_with_rate_and_time_left():
    progress, stream, clock = make()
    clock.now += 20.0
    progress.step_done(1, never)
    # 100 more steps of two images in 50 s: 4 images/s; 899 steps left take 449.5 s.
    clock.now += 50.0
    progress.block_done(101, 0.123456)
    assert stream.getvalue().splitlines() == [
        "first step done after 20.0 s (it builds the graph)",
        "step 101/1000  loss 0.1235  4.0 images/s  0:07:30 left",
    ]


def test_an_evaluation_counts_in_the_time_left_but_not_in_the_throughput():
    progress, stream, clock = make(num_steps=20, batch_size=2)
    progress.step_done(1, never)
    clock.now += 10.0
    with progress.pause():
        clock.now += 40.0
    # 10 steps of two images in 10 s; 9 steps are left at 5 s each.
    progress.block_done(11, 1.0)
    assert stream.getvalue().splitlines()[1:] == [
        "step 11/20  loss 1.0000  2.0 images/s  0:00:45 left"
    ]


def test_a_training_that_waits_for_its_input_says_so():
    progress, stream, clock = make(num_steps=20)
    progress.step_done(1, never)
    for step, wait in ((3, 0.05), (5, 0.625)):
        clock.now += 2.0
        progress.block_done(step, 1.0, wait)
    lines = stream.getvalue().splitlines()[1:]
    assert lines[0].endswith("left")
    assert lines[1].endswith("left  waits for input 62% of the time")


def test_slow_steps_get_lines_between_the_blocks():
    progress, stream, clock = make(num_steps=4, start=1)
    for step in (2, 3, 4):
        clock.now += 29.0
        progress.step_done(step, never if step != 3 else lambda: 1.5)
    progress.block_done(4, 1.0)
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["step 3/4", "step 4/4"]
    assert "0:00:29 left" in lines[1]


def test_no_line_twice_and_no_rate_before_it_is_known():
    progress, stream, clock = make()
    progress.step_done(1, never)
    progress.block_done(1, 2.0)
    progress.block_done(1, 2.0)
    assert stream.getvalue().splitlines()[1:] == ["step 1/1000  loss 2.0000"]
    assert progress.images_per_second(1) == 0.0


def test_a_terminal_gets_a_bar():
    progress, stream, clock = make(num_steps=3, tty=True)
    progress.step_done(1, lambda: 2.0)
    clock.now += 1.0
    progress.step_done(3, lambda: 1.25)
    progress.block_done(3, 1.25)
    progress.close()
    shown = stream.getvalue()
    assert "3/3" in shown
    assert "step 3/3  loss" not in shown


def test_a_run_without_a_last_step_has_no_time_left():
    progress, stream, clock = make(num_steps=None)
    progress.step_done(1, lambda: 1.0)
    clock.now += 10
    progress.block_done(11, 0.5)
    assert "step 11  loss 0.5000  2.0 images/s\n" in stream.getvalue()
    assert "left" not in stream.getvalue()
