"""Run a SavedModel with TensorFlow's C++ loader by its C interface, without its Python.

    python cpp_loader.py libtensorflow_cc.so.2 saved_model request.json answer.npz

The request has the names of the tensors: `input`, what is fed to it (`shape` of an image of
uint8 with all values `value`, or `files`, paths whose bytes are fed as strings), and `outputs`,
name of the answer -> tensor.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

FLOAT, UINT8, STRING = 1, 4, 7  # TF_DataType
STRING_BYTES = 24  # of a TF_TString


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def library(path):
    found = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    for name in [
        "TF_NewStatus",
        "TF_Message",
        "TF_NewGraph",
        "TF_NewSessionOptions",
        "TF_LoadSessionFromSavedModel",
        "TF_GraphOperationByName",
        "TF_AllocateTensor",
        "TF_TensorData",
    ]:
        getattr(found, name).restype = ctypes.c_void_p
    found.TF_Message.restype = ctypes.c_char_p
    found.TF_Dim.restype = ctypes.c_int64
    return found


def tensor(tf, kind, shape, size):
    """Return the address of a new tensor, and that of its values."""
    dims = (ctypes.c_int64 * len(shape))(*shape)
    made = ctypes.c_void_p(tf.TF_AllocateTensor(kind, dims, len(shape), ctypes.c_size_t(size)))
    return made, tf.TF_TensorData(made)


def fed(tf, request):
    if "files" not in request:
        shape = request["shape"]
        made, data = tensor(tf, UINT8, shape, int(np.prod(shape)))
        ctypes.memset(data, request["value"], int(np.prod(shape)))
        return made
    files = [Path(name).read_bytes() for name in request["files"]]
    made, data = tensor(tf, STRING, [len(files)], STRING_BYTES * len(files))
    for number, content in enumerate(files):
        place = ctypes.c_void_p(data + STRING_BYTES * number)
        tf.TF_StringInit(place)
        tf.TF_StringCopy(place, content, ctypes.c_size_t(len(content)))
    return made


def values(tf, handle):
    handle = ctypes.c_void_p(handle)
    assert tf.TF_TensorType(handle) == FLOAT
    shape = [tf.TF_Dim(handle, axis) for axis in range(tf.TF_NumDims(handle))]
    size = int(np.prod(shape))
    data = (ctypes.c_float * size).from_address(tf.TF_TensorData(handle)) if size else []
    return np.array(data, np.float32).reshape(shape)


def main(library_path, saved_model, request_path, answer_path):
    request = json.loads(Path(request_path).read_text())
    tf = library(library_path)
    status, graph = ctypes.c_void_p(tf.TF_NewStatus()), ctypes.c_void_p(tf.TF_NewGraph())

    def check():
        if tf.TF_GetCode(status):
            sys.exit(tf.TF_Message(status).decode())

    tags = (ctypes.c_char_p * 1)(b"serve")
    session = ctypes.c_void_p(
        tf.TF_LoadSessionFromSavedModel(
            ctypes.c_void_p(tf.TF_NewSessionOptions()),
            None,
            saved_model.encode(),
            tags,
            1,
            graph,
            None,
            status,
        )
    )
    check()

    def output(name):
        operation, index = name.split(":")
        found = tf.TF_GraphOperationByName(graph, operation.encode())
        assert found, f"no operation {operation}"
        return Output(found, int(index))

    names = list(request["outputs"])
    inputs = (Output * 1)(output(request["input"]))
    outputs = (Output * len(names))(*(output(request["outputs"][name]) for name in names))
    given = (ctypes.c_void_p * 1)(fed(tf, request))
    got = (ctypes.c_void_p * len(names))()
    count = len(names)
    tf.TF_SessionRun(session, None, inputs, given, 1, outputs, got, count, None, 0, None, status)
    check()
    assert "tensorflow" not in sys.modules
    np.savez(answer_path, **{name: values(tf, each) for name, each in zip(names, got, strict=True)})


if __name__ == "__main__":
    main(*sys.argv[1:])
