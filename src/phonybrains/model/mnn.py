"""MNN, which computes compiled networks: a network of one file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..process_wide import OUTPUT, silenced


class Network:
    """A compiled network: float32 arrays in by name, one out. For one thread at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        with silenced(OUTPUT):
            self._mnn: Any = import_module("MNN")
            self._interpreter = self._mnn.Interpreter(str(path))
            self._session = self._interpreter.createSession({"backend": "CPU", "numThread": threads})
        self._inputs = self._interpreter.getSessionInputAll(self._session)
        self._output = self._interpreter.getSessionOutput(self._session)

    def __call__(self, **arrays: NDArray[Any]) -> NDArray[np.float32]:
        for name, values in arrays.items():
            self._inputs[name].copyFrom(self._tensor(np.ascontiguousarray(values, np.float32)))
        self._interpreter.runSession(self._session)
        result = self._tensor(np.empty(self._output.getShape(), np.float32))
        self._output.copyToHostTensor(result)
        return result.getNumpyData().copy()

    def _tensor(self, values: NDArray[np.float32]) -> Any:
        return self._mnn.Tensor(values.shape, self._mnn.Halide_Type_Float, values, self._mnn.Tensor_DimensionType_Caffe)
