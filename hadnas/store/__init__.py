"""What is remembered: homes, databases, the ledger, studies."""
