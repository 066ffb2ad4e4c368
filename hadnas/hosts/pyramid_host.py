"""The pyramid as a host: its parts, and a pyramid as an encoder."""

from hadnas.arch.read import Call, Node, Place, checked_values
from hadnas.blocks.layers import normalisation
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError
from hadnas.hosts.host import Plan
from hadnas.hosts.pair.encoder import Encoder
from hadnas.hosts.stage import Stage
from hadnas.hosts.staged_host import IMAGENET_CLASSES, StagedHost
from hadnas.inputs import InputShape


class PyramidHost(StagedHost):
    """Stem, stages of one width each, norm and head, one after another."""

    stage = Stage

    def encoder(self, node: Node, shape: InputShape | None, pool: bool) -> tuple[Node, Call, Place]:
        """See `Host.encoder`: a pyramid without its head, whose stem fits the input."""
        op = find_op(node["op"])
        if "head" in node:
            raise SpecError("an encoder has no head: the pair has one")
        values = checked_values(op, {**node, "head": None})
        found = self.read_body(values, shape, IMAGENET_CLASSES)
        completed = {"op": op.name, **found.node, "norm": values["norm"]}
        call = Call("encoder", Encoder, (), {**found.calls, "norm": values["norm"], "pool": pool})
        return completed, call, found.place

    def parts(self, plan: Plan) -> list[Call]:
        """Stem, every down and block of every stage, norm and head."""
        whole = plan.call.kwargs
        stages = [stage.kwargs for stage in whole["stages"]]
        inside = [part for stage in stages for part in (stage["down"], *stage["blocks"]) if part is not None]
        norm = Call("norm", normalisation, (whole["norm"], stages[-1]["dim"]), {})
        return [whole["stem"], *inside, norm, whole["head"]]
