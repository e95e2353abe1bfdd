"""A model of MLServer that runs an ONNX file of a model repository."""

from typing import Any

import onnxruntime
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec
from mlserver.utils import get_model_uri


class OnnxModel(MLModel):
    """Answers requests of the Open Inference Protocol, as Triton and OpenVINO Model Server do."""

    async def load(self) -> bool:
        """Load the file that model-settings.json names."""
        self.session: Any = onnxruntime.InferenceSession(await get_model_uri(self.settings))
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Return all outputs."""
        inputs = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        names = [output.name for output in self.session.get_outputs()]
        outputs = zip(names, self.session.run(names, inputs), strict=True)
        return types.InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name, values) for name, values in outputs],
        )
