"""How MLflow loads and calls an exported network. Every registered model has a copy of this file.

It is MLflow's "model from code": nothing is pickled, and no hadnas is needed where the model is loaded or served.
"""

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Network(PythonModel):  # type: ignore[misc]  # MLflow is not typed
    """The network of the exported folder `export`: its inputs, normalised -> outputs (B, K).

    One image is an array (B, C, H, W) of float32; several inputs are a dictionary of arrays by name.
    """

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["export"])
        name = f"exported_{abs(hash(folder))}"  # two models may be loaded in one process
        spec = importlib.util.spec_from_file_location(name, folder / "model.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # timm looks there for the module that registers a network
        with warnings.catch_warnings():
            # timm warns if two versions of one architecture are loaded, though each builds its own
            warnings.filterwarnings("ignore", "Overwriting .* in registry", UserWarning)
            spec.loader.exec_module(module)
        self.network = module.build_model(pretrained=True).eval()

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow would read hints
        if isinstance(model_input, dict):
            arrays = [np.asarray(model_input[name]) for name in self.network.pretrained_cfg["inputs"]]
            arrays = [one.astype("int64" if one.dtype.kind in "iu" else "float32") for one in arrays]
        else:
            arrays = [np.asarray(model_input, dtype=np.float32)]
        with torch.inference_mode():
            return self.network(*map(torch.from_numpy, arrays)).numpy()


set_model(Network())
