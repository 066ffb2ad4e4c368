"""What a study found, read only: candidates, front, statistics, plots, report."""
