"""The processes of a search: one that starts and watches, and its workers, which run the same command line."""
