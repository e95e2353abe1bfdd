"""A process of a tf.data service, for tests.

python -m tests.data.service_process dispatcher PORT
python -m tests.data.service_process worker PORT_OF_DISPATCHER
"""

import sys

import tensorflow as tf

service = tf.data.experimental.service
kind, port = sys.argv[1], int(sys.argv[2])
if kind == "dispatcher":
    server = service.DispatchServer(service.DispatcherConfig(port=port))
else:
    server = service.WorkerServer(service.WorkerConfig(dispatcher_address=f"localhost:{port}"))
print("started", flush=True)
server.join()
