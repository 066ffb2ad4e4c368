"""Networks as TorchScript and as torch.fx graphs, as timm's tests compile and trace its own."""

import pytest
import timm
import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import nn
from torch.fx import GraphModule
from torch.testing import assert_close
from torchvision.models.feature_extraction import NodePathTracer

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op, ops
from hadnas.contract.cases import cases
from hadnas.exporter.card import Facts, card
from hadnas.hosts.build import build
from hadnas.hosts.host import make_plan
from hadnas.space import op
from tests.networks import pyramid, residual

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # deprecated; timm still tests it

TASK = Task.image(3, 16, 16, classes=5)


def traced(network: nn.Module, **constant: bool) -> nn.Module:
    """As timm traces: what it registers as not to be traced is one node of the graph."""
    kept = {"leaf_modules": get_notrace_modules(), "autowrap_functions": get_notrace_functions()}
    tracer = NodePathTracer(**kept, param_shapes_constant=True)
    graph = tracer.trace(network, concrete_args=constant)
    return GraphModule(tracer.root, graph)


def test_a_network_gives_the_same_logits_scripted_and_traced() -> None:
    blocks = [op("gn_conv"), op("ccp"), op("ncp"), op("mlp", mix="after"), op("attention"), op("token_mlp")]
    arch = complete(pyramid((16, [residual(block, norm="rmsnorm2d") for block in blocks]), (24, [])), TASK)
    network, images = build(arch, TASK).eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        logits = network(images)
        assert torch.equal(torch.jit.script(network)(images), logits)
        assert torch.equal(traced(network)(images), logits)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, found in ops().items() if not {"host", "graft"} & {*found.roles}])
def test_every_op_gives_the_same_output_scripted_and_traced(name: str) -> None:
    constant = {"pre_logits": False} if "head" in find_op(name).roles else {}
    for case in cases(find_op(name)):
        module, inputs = case.op.cls(**case.arguments()).eval(), case.inputs()
        with torch.no_grad():
            out = module(*inputs)  # of a masked op a map and its mask
            assert_close(traced(module, **constant)(*inputs), out, rtol=0, atol=0, msg=str(case))
            if "avgmax" not in case.varied:  # a pooling of timm's that TorchScript does not compile
                assert_close(torch.jit.script(module)(*inputs), out, rtol=0, atol=0, msg=str(case))


@pytest.mark.parametrize(("pool", "said"), [("avg", False), ("avgmax", True)])
def test_the_card_says_which_pooling_cannot_be_scripted(pool: str, said: bool) -> None:
    plan = make_plan({**pyramid((8, [])), "head": op("pooled_linear", pool=pool)}, TASK)
    text = card(plan, Facts(), None, (), "", "torch and timm", trained=False)
    assert ("TorchScript does not compile timm's pooling `avgmax`" in text) == said


@pytest.mark.slow
def test_the_pooling_that_cannot_be_scripted_is_that_of_timm() -> None:
    """The reason why a card says so; once this fails, that sentence goes."""
    with pytest.raises(RuntimeError, match="adaptive_avg_pool2d"):
        torch.jit.script(timm.create_model("resnet18", global_pool="avgmax"))
