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
            arrays = self._arrays({name: np.asarray(one) for name, one in model_input.items()})
        else:
            arrays = [np.asarray(model_input, dtype=np.float32)]
        with torch.inference_mode():
            return self.network(*map(torch.from_numpy, arrays)).numpy()

    def _arrays(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Several inputs in the order of the network. Raises ValueError for what torch would broadcast or not find."""
        known = self.network.pretrained_cfg["inputs"]
        if len({len(given[name]) for name in known}) > 1:
            found = ", ".join(f"{name} {len(given[name]):,}" for name in known)
            raise ValueError(f"found inputs of unequal length, {found}; allowed is one length")
        for name in known:
            if "vocabulary" in known[name]:
                last = known[name]["vocabulary"] - 1
                wrong, allowed = (given[name] < 0) | (given[name] > last), f"tokens from 0 to {last}"
            elif known[name].get("mask"):
                wrong, allowed = ~np.isin(given[name], (0, 1)), "0 at a hole and 1 at a valid pixel"
            else:
                continue
            if wrong.any():
                place = tuple(np.argwhere(wrong)[0].tolist())
                raise ValueError(f"{name}{list(place)} is {given[name][place]}; allowed are {allowed}")
        return [given[name].astype("int64" if "vocabulary" in known[name] else "float32") for name in known]


set_model(Network())
