"""Input pipeline on the workers of a tf.data service.

The workers read, decode and augment; the training gets finished batches in no fixed order.
TensorFlow waits for a dispatcher without an end; here one that does not answer is an error.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import cancellation

_ADDRESS = re.compile(r"grpc://(?P<target>(?P<host>[^/\s]+):(?P<port>\d+))")
_TIMEOUT = 10.0  # seconds for an answer
INTERVAL = 10.0  # seconds between two questions
PATIENCE = 60.0  # seconds without an answer after which a dispatcher is lost
_VERSION = "/tensorflow.data.DispatcherService/GetVersion"


def require_dispatcher(address: str) -> None:
    """Check that a dispatcher answers.

    Args:
        address: "grpc://host:port".

    Raises:
        ValueError: an address of another form, nothing listens there, or it is no dispatcher.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise ValueError(f"data_service is {address!r}, expected grpc://HOST:PORT of a dispatcher")
    problem = dispatcher_problem(address)
    if problem:
        raise ValueError(
            f"no tf.data service dispatcher answers at {address!r} ({problem}); start it, give the "
            "address of the dispatcher, or train without data_service"
        )


def dispatcher_problem(address: str, timeout: float = _TIMEOUT) -> str:
    """Return why a dispatcher does not answer; "" if it does.

    Args:
        address: "grpc://host:port".
        timeout: seconds to wait.
    """
    import grpc

    match = _ADDRESS.fullmatch(address)
    assert match is not None, address
    with grpc.insecure_channel(match["target"]) as channel:
        ask = channel.unary_unary(_VERSION)  # The request has no fields: no byte.
        try:
            ask(b"", timeout=timeout)
        except grpc.RpcError as error:
            details: Any = error
            if details.code() is grpc.StatusCode.UNIMPLEMENTED:
                return "another server, such as a worker of the service, answers"
            if details.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return f"no answer in {timeout:g} s"
            return " ".join(str(details.details()).split())
    return ""


def read_by_service(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Return the batches as the workers of a service make them.

    Args:
        batches: begins with `example_order.service_places`, whose blocks the workers share.
        address: "grpc://host:port" of the dispatcher.

    Returns:
        Every block's examples at most once: those of a worker that ends are lost.

    Raises:
        ValueError: see `require_dispatcher`.
    """
    require_dispatcher(address)
    service = tf.data.experimental.service
    return batches.apply(
        service.distribute(processing_mode=service.ShardingPolicy.DYNAMIC, service=address)
    )


class DispatcherWatch:
    """Watch on the dispatcher of a training: a step that waits for a lost one is cancelled.

    Use it as a context manager; without an address it does nothing.
    """

    def __init__(
        self,
        address: str | None,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
        find_problem: Callable[[str], str] = dispatcher_problem,
    ) -> None:
        """Prepare.

        Args:
            address: "grpc://host:port" of the dispatcher, or None.
            interval: seconds between two questions.
            patience: seconds without an answer after which the dispatcher is lost.
            find_problem: see `dispatcher_problem`.
        """
        self._address = address
        self._interval = interval
        self._patience = patience
        self._find_problem = find_problem
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._manager = cancellation.CancellationManager()
        self.problem = ""

    def __enter__(self) -> DispatcherWatch:
        """Start watching."""
        if self._address:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._end.set()

    def cancels(self) -> Any:
        """Return a context manager whose TensorFlow functions end when the dispatcher is lost."""
        if not self._address:
            return contextlib.nullcontext()
        return cancellation.CancellationManagerContext(self._manager)

    def _watch(self) -> None:
        assert self._address is not None
        answered = time.monotonic()
        while not self._end.wait(self._interval):
            problem = self._find_problem(self._address)
            if not problem:
                answered = time.monotonic()
            elif time.monotonic() - answered >= self._patience:
                self.problem = (
                    f"the dispatcher of the tf.data service at {self._address!r} has not answered "
                    f"for {self._patience:g} s ({problem})"
                )
                self._manager.start_cancel()
                return
