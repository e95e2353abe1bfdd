"""Input pipeline on the workers of a tf.data service.

The workers read, decode and augment; the training gets finished batches in no fixed order.
"""

from __future__ import annotations

import re
import socket

import tensorflow as tf

_ADDRESS = re.compile(r"grpc://(?P<host>[^/\s]+):(?P<port>\d+)")
_TIMEOUT = 10.0  # seconds


def require_dispatcher(address: str) -> None:
    """Check that a dispatcher listens; TensorFlow would wait for it without an end.

    Args:
        address: "grpc://host:port".

    Raises:
        ValueError: an address of another form, or nothing listens there.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise ValueError(f"data_service is {address!r}, expected grpc://HOST:PORT of a dispatcher")
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), _TIMEOUT).close()
    except OSError as error:
        raise ValueError(
            f"no tf.data service dispatcher answers at {address!r} ({error.strerror or error}); "
            "start it, or train without data_service"
        ) from error


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
