"""The ways to run a network: each computes what the module computes."""

import sys

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from hadnas.errors import MeasurementError
from hadnas.hosts.host import make_plan
from hadnas.measure.latency.backends import BACKENDS, Backend, versions
from hadnas.measure.latency.latency import latency
from hadnas.measure.onnx import INPUT, as_int8, as_onnx
from hadnas.search.evaluator import Evaluator
from hadnas.search.latency.compare import backends
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.train.data.spec import load_data
from tests.homes import study
from tests.networks import pyramid

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


@pytest.mark.parametrize("name", ["eager", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_a_backend_computes_what_the_module_computes(net, name):
    image = torch.rand(2, *SHAPE)
    with torch.inference_mode():
        call = BACKENDS[name].run(net, (image,), 1)
        out = call()
    found = torch.as_tensor(out[0] if name == "onnxruntime" else out)
    torch.testing.assert_close(found, net(image).detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnxruntime", "int8"])
def test_latency_on_onnxruntime(net, name):
    found = latency(net, SHAPE, backend=name, reference=net, seconds=0.2)
    assert 0.2 < found.ratio < 5
    assert found.protocol["backend"] == name and found.protocol["versions"]["onnxruntime"] != "missing"


@pytest.mark.slow
def test_int8_computes_about_what_the_module_computes_with_integers_and_without_norms(net):
    images = torch.randn(64, *SHAPE)
    content = as_int8(as_onnx(net, (images[:2],), any_batch=True), [{INPUT: images.numpy()}])
    graph = onnx.load_model_from_string(content).graph
    kinds = [node.op_type for node in graph.node]
    assert "BatchNormalization" not in kinds and kinds.count("DequantizeLinear") >= 4
    weights = [weight for weight in graph.initializer if weight.dims == [4, 1, 3, 3]]
    assert [weight.data_type for weight in weights] == [onnx.TensorProto.INT8]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {INPUT: images.numpy()})
    expected = net(images).detach()
    error = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.05


@pytest.mark.slow
def test_latency_compiled():
    found = latency(nn.Hardswish(), SHAPE, backend="compile", reference=nn.Hardswish(), seconds=0.2)
    assert 0.2 < found.ratio < 5
    assert found.protocol["backend"] == "compile"


def test_onnxruntime_missing(net, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MeasurementError, match=r"'onnx'.*hadnas\[onnx\]"):
        latency(net, SHAPE, backend="onnxruntime")


def test_onnxruntime_is_for_float32(net):
    with pytest.raises(MeasurementError, match=r"torch\.float64: torch\.float32 is allowed"):
        latency(net, SHAPE, backend="onnxruntime", dtype=torch.float64)


@pytest.mark.slow
def test_a_module_that_cannot_be_exported():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(MeasurementError, match=r"ONNX: \w+: [^\n]+$"):
        latency(Branching(), SHAPE, backend="onnxruntime")


def test_an_entry_is_enough_for_a_backend(monkeypatch, tmp_path):
    """A study may name it, candidates are timed by it, and the ledger keeps it apart."""
    images = []

    def traced(module, inputs, threads):
        images.append((tuple(inputs[0].shape), threads))
        fast = torch.fx.symbolic_trace(module)
        return lambda: fast(*inputs)

    monkeypatch.setitem(BACKENDS, "traced", Backend(traced))
    monkeypatch.setattr("hadnas.search.latency.timing.SECONDS", 0.02)
    chosen = study(latency="traced", backends=("compile", "traced"))
    assert backends(chosen) == ("eager", "traced", "compile")
    home = Home(tmp_path)
    evaluator = Evaluator(chosen, load_data("digits"), home, Ledger(home.url), "cpu")
    plan = make_plan(pyramid((8, [])), evaluator.task)
    taken = evaluator.latency(plan, "traced")
    assert taken.protocol["backend"] == "traced" and taken.figures["ratio"] > 0 and images[0] == ((1, 1, 8, 8), 1)
    assert evaluator.latency(plan, "traced") == taken  # from the ledger
    assert evaluator.latency(plan, "eager").protocol["backend"] == "eager"
    evaluator.ledger.close()


def test_versions_say_what_runs():
    assert versions("eager") == {"torch": torch.__version__}
    assert set(versions("onnxruntime")) == {"torch", "onnxruntime"}
