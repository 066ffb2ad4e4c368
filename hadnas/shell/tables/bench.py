"""What the shell prints of replayed searches."""

from collections.abc import Sequence

from hadnas.replay.replay import Search
from hadnas.replay.scores import shares, summaries
from hadnas.replay.table import KnownTable
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid, print_left_out


def show_searches(table: KnownTable, searches: Sequence[Search], budgets: Sequence[int]) -> None:
    """Mean score and work of each sampler at each budget, beside those of the first."""
    columns = list(dict.fromkeys(table.goal.judging))
    if len(columns) == 1:
        what = f"{columns[0]} of the best (the table's best: {table.best:.6g})"
    else:
        what = f"hypervolume of {', '.join(columns)} as a share of the table's, reference point "
        what += ", ".join(f"{worst:.6g}" for worst in table.reference)
    found = summaries(searches, budgets)
    grid = Grid(
        Column("networks", right=True),
        Column("sampler", name=True),
        Column("mean", right=True),
        Column("95 % bootstrap interval", right=True, spare=1),
        Column("work", right=True),
        Column(f"ahead of {found[0].label}", right=True),
        title=f"{what}; n = {found[0].n} seeds, ± standard error",
    )
    for row in found:
        ahead = "" if row.label == found[0].label else f"{row.lead:+.5f} ± {row.lead_error:.5f}"
        interval = f"{row.low:.5f} to {row.high:.5f}"
        grid.add(str(row.budget), row.label, f"{row.mean:.5f} ± {row.error:.5f}", interval, f"{row.work:.2f}", ahead)
    print_left_out(grid.print())
    for share in shares(searches):
        if share.missed == share.n:
            console.print(f"{share.label} never reaches the last score of {found[0].label} ({share.n} seeds)")
            continue
        shown = f"{share.label} reaches the last score of {found[0].label} with {share.median:.3f} of its work"
        interval = f"median of {share.n} seeds, 95 % bootstrap interval {share.low:.3f} to {share.high:.3f}"
        console.print(f"{shown} ({interval}; {share.missed} did not)", highlight=False)
