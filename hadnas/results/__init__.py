"""The results of a study, read only: candidates, front, statistics, plots, report."""
