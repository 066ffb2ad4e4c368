"""The health of a database and of a home: a server that is away, damage, and what a kill left."""
