"""Latencies of candidates, in the ledger: one, those of the front on several backends, and predicted ones."""
