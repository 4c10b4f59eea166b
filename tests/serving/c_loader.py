"""Loads a SavedModel with TensorFlow's C API, as TensorFlow Serving does.

`TF_LoadSessionFromSavedModel` calls `tensorflow::LoadSavedModel`. The libraries are
those in the installed wheel.
"""

import ctypes
import importlib.util
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

STRING = types_pb2.DT_STRING
STRING_SIZE = 24  # sizeof(TF_TString)
NUMPY = {
    types_pb2.DT_FLOAT: "float32",
    types_pb2.DT_DOUBLE: "float64",
    types_pb2.DT_INT32: "int32",
    types_pb2.DT_INT64: "int64",
    types_pb2.DT_BOOL: "bool",
    types_pb2.DT_UINT8: "uint8",
    types_pb2.DT_INT8: "int8",
}


class Output(ctypes.Structure):
    _fields_ = (("op", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("free", c_void_p))


# The types of the result and of the arguments of each function.
FUNCTIONS = {
    "TF_NewStatus": (c_void_p,),
    "TF_DeleteStatus": (None, c_void_p),
    "TF_GetCode": (c_int, c_void_p),
    "TF_Message": (c_char_p, c_void_p),
    "TF_NewGraph": (c_void_p,),
    "TF_DeleteGraph": (None, c_void_p),
    "TF_NewBuffer": (POINTER(Buffer),),
    "TF_DeleteBuffer": (None, POINTER(Buffer)),
    "TF_NewSessionOptions": (c_void_p,),
    "TF_DeleteSessionOptions": (None, c_void_p),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        *(c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int),
        *(c_void_p, POINTER(Buffer), c_void_p),
    ),
    "TF_CloseSession": (None, c_void_p, c_void_p),
    "TF_DeleteSession": (None, c_void_p, c_void_p),
    "TF_GraphOperationByName": (c_void_p, c_void_p, c_char_p),
    "TF_SessionRun": (
        None,
        *(c_void_p, c_void_p),
        *(POINTER(Output), POINTER(c_void_p), c_int),
        *(POINTER(Output), POINTER(c_void_p), c_int),
        *(c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_AllocateTensor": (c_void_p, c_int, POINTER(c_int64), c_int, c_size_t),
    "TF_DeleteTensor": (None, c_void_p),
    "TF_TensorData": (c_void_p, c_void_p),
    "TF_TensorType": (c_int, c_void_p),
    "TF_NumDims": (c_int, c_void_p),
    "TF_Dim": (c_int64, c_void_p, c_int),
    "TF_StringInit": (None, c_void_p),
    "TF_StringCopy": (None, c_void_p, c_char_p, c_size_t),
    "TF_StringGetDataPointer": (c_void_p, c_void_p),
    "TF_StringGetSize": (c_size_t, c_void_p),
}


def tensorflow_folder():
    """Returns the folder of TensorFlow, without importing it."""
    numpy = importlib.util.find_spec("numpy").origin
    return os.path.join(os.path.dirname(numpy), "..", "tensorflow")


def _library():
    framework, cc = (
        ctypes.CDLL(os.path.join(tensorflow_folder(), name), mode=ctypes.RTLD_GLOBAL)
        for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
    )
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(cc if hasattr(cc, name) else framework, name)
        function.restype, function.argtypes = result, arguments
        yield name.removeprefix("TF_"), function


TF = type("TF", (), {name: staticmethod(f) for name, f in _library()})


class TensorFlowError(Exception):
    """An error from TensorFlow, with its canonical code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Status:
    """Raises at the end of the block if the call inside it reported an error."""

    def __enter__(self):
        self.pointer = TF.NewStatus()
        return self.pointer

    def __exit__(self, *_):
        code = TF.GetCode(self.pointer)
        message = TF.Message(self.pointer).decode(errors="replace")
        TF.DeleteStatus(self.pointer)
        if code:
            raise TensorFlowError(code, message)


class SavedModel:
    """A loaded SavedModel.

    Attributes:
        signatures: each `SignatureDef` by its name.
    """

    def __init__(self, path):
        self.graph = TF.NewGraph()
        options, buffer = TF.NewSessionOptions(), TF.NewBuffer()
        tags = (c_char_p * 1)(b"serve")
        try:
            with Status() as status:
                self.session = TF.LoadSessionFromSavedModel(
                    *(options, None, os.fsencode(path), tags, 1),
                    *(self.graph, buffer, status),
                )
            meta = ctypes.string_at(buffer.contents.data, buffer.contents.length)
        finally:
            TF.DeleteBuffer(buffer)
            TF.DeleteSessionOptions(options)
        self.signatures = dict(
            meta_graph_pb2.MetaGraphDef.FromString(meta).signature_def
        )

    def close(self):
        with Status() as status:
            TF.CloseSession(self.session, status)
        with Status() as status:
            TF.DeleteSession(self.session, status)
        TF.DeleteGraph(self.graph)

    def __call__(self, signature, inputs, keys=None):
        """Returns arrays by name; `inputs` have the dtypes of the signature."""
        signature = self.signatures[signature]
        keys = list(keys or signature.outputs)
        feeds = [(signature.inputs[k], value) for k, value in inputs.items()]
        tensors = [_to_tensor(value, info.dtype) for info, value in feeds]
        fed = (c_void_p * len(feeds))(*tensors)
        fetched = (c_void_p * len(keys))()
        sources = self._outputs([info.name for info, _ in feeds])
        targets = self._outputs([signature.outputs[k].name for k in keys])
        try:
            with Status() as status:
                TF.SessionRun(
                    *(self.session, None),
                    *(sources, fed, len(feeds)),
                    *(targets, fetched, len(keys)),
                    *(None, 0, None, status),
                )
        finally:
            for tensor in tensors:
                TF.DeleteTensor(tensor)
        try:
            return {k: _to_numpy(t) for k, t in zip(keys, fetched, strict=True)}
        finally:
            for tensor in fetched:
                TF.DeleteTensor(tensor)

    def _outputs(self, names):
        def output(name):
            op, _, index = name.partition(":")
            return Output(
                TF.GraphOperationByName(self.graph, op.encode()), int(index or 0)
            )

        return (Output * len(names))(*map(output, names))


def _to_tensor(array, dtype):
    shape = (c_int64 * max(array.ndim, 1))(*array.shape)
    if dtype == STRING:
        size = STRING_SIZE * array.size
        tensor = TF.AllocateTensor(dtype, shape, array.ndim, size)
        for i, text in enumerate(array.ravel().tolist()):
            at = TF.TensorData(tensor) + i * STRING_SIZE
            TF.StringInit(at)
            TF.StringCopy(at, text, len(text))
        return tensor
    array = np.ascontiguousarray(array, NUMPY[dtype])
    tensor = TF.AllocateTensor(dtype, shape, array.ndim, array.nbytes)
    ctypes.memmove(TF.TensorData(tensor), array.ctypes.data, array.nbytes)
    return tensor


def _to_numpy(tensor):
    shape = [TF.Dim(tensor, i) for i in range(TF.NumDims(tensor))]
    data, size = TF.TensorData(tensor), int(np.prod(shape))
    if TF.TensorType(tensor) == STRING:
        at = (data + i * STRING_SIZE for i in range(size))
        texts = [
            ctypes.string_at(TF.StringGetDataPointer(p), TF.StringGetSize(p))
            for p in at
        ]
        return np.array(texts, object).reshape(shape)
    dtype = np.dtype(NUMPY[TF.TensorType(tensor)])
    copy = ctypes.string_at(data, size * dtype.itemsize) if size else b""
    return np.frombuffer(copy, dtype).reshape(shape)
