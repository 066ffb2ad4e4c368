"""The pyramid of cells as a host: how they are read, drawn and counted."""

from itertools import groupby
from typing import Any

from hadnas.arch.diagram import Box, boxes
from hadnas.arch.families import family_of
from hadnas.arch.read import Call, Node, Place
from hadnas.blocks.layers import normalisation
from hadnas.errors import SpecError
from hadnas.hosts.cells.cell_stage import CellStage
from hadnas.hosts.cells.parts import Both, Newer
from hadnas.hosts.host import Plan
from hadnas.hosts.staged_host import StagedHost


class CellPyramidHost(StagedHost):
    """Stem, stages of cells, norm and head; two maps run through the stages."""

    stage = CellStage
    downs = ("down", "down_older")
    inside = ("cell",)

    def read_stage(self, stage: Any, before: Place, path: str) -> tuple[Node, dict[str, Any], Place]:
        """See `StagedHost.read_stage`. Without a cell the older map would have no reader."""
        node, calls, place = super().read_stage(stage, before, path)
        if not node["blocks"]:
            raise SpecError(f"{path}: blocks = [] is not allowed; allowed is a list of at least one cell")
        return node, calls, place

    def parts(self, plan: Plan) -> list[Call]:
        """Stem, the down-samplings of every stage and every cell, each as a stage by itself, norm and head."""
        whole = plan.call.kwargs
        found = [Call("stem", Both, (), {"stem": whole["stem"]})]
        for stage in whole["stages"]:
            without = {**stage.kwargs, "blocks": [], **dict.fromkeys(self.downs)}
            downs = {name: stage.kwargs[name] for name in self.downs}
            inside = [downs] if downs["down"] else []
            inside += [{"blocks": [cell]} for cell in stage.kwargs["blocks"]]
            found += [Call("stage", CellStage, (), {**without, **part}) for part in inside]
        norm = Call("norm", normalisation, (whole["norm"], whole["stages"][-1].kwargs["dim"]), {})
        return [*found, Call("norm", Newer, (), {"norm": norm}), whole["head"]]

    def features(self, plan: Plan) -> dict[str, Any]:
        """See `Host.features`; read from the network, since its stages have two maps."""
        return super().features(plan) | {"feature_cls": "getter"}

    def column(self, stage: Node) -> list[Box]:
        """See `StagedHost.column`: a box of each run of equal cells, with its merge, then those of its blocks."""
        found = boxes(self.shrinking(stage))
        for cell, run in groupby(stage["blocks"]):
            (box,) = boxes(run)
            merge = cell.get("merge")  # a user-defined cell may have neither a merge nor blocks
            if merge and merge["op"] != "add":
                small = "; ".join(part for part in (f"joined by {merge['op']}", box.small) if part)
                box = box._replace(small=small, merge=family_of(merge))
            found += [box, *boxes(cell.get("blocks", []))]
        return found
