"""Measurements that need no training: costs, latencies, and predictors fitted to them."""

import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from itertools import islice
from typing import Any

from sqlalchemy import select

from hadnas.store.database import Database
from hadnas.store.records import Costs, StoredLatency, record
from hadnas.store.tables import ArchitectureRow, CostRow, LatencyRow, PredictorRow

MANY = 500
"""The most rows that one query names; a database has a limit of parameters."""


class Measured:
    """The part of the ledger about architectures, by fingerprint, independent of studies and trainings."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put_architecture(self, fingerprint: str, arch: str) -> None:
        """Store an architecture (canonical JSON), to which all other rows refer. One that is there stays as it is."""
        with self.database.write() as session:
            row: dict[str, Any] = {
                "fingerprint": fingerprint,
                "arch": arch,
                "created": self.database.dialect.now(session),
            }
            session.execute(self.database.dialect.insert(ArchitectureRow).values(row).on_conflict_do_nothing())

    def architecture(self, fingerprint: str) -> str | None:
        """The canonical JSON of an architecture, or None if the ledger lacks it."""
        with self.database.read() as session:
            return session.scalar(select(ArchitectureRow.arch).where(ArchitectureRow.fingerprint == fingerprint))

    def architectures(self, fingerprints: Iterable[str]) -> dict[str, str]:
        """The canonical JSON of those architectures that the ledger has, by fingerprint, in a few queries."""
        found: dict[str, str] = {}
        left = iter(fingerprints)
        with self.database.read() as session:
            while some := list(islice(left, MANY)):
                rows = session.execute(
                    select(ArchitectureRow.fingerprint, ArchitectureRow.arch).where(
                        ArchitectureRow.fingerprint.in_(some)
                    )
                )
                found |= {fingerprint: arch for fingerprint, arch in rows}
        return found

    def put_cost(self, fingerprint: str, task: str, code: str, costs: Costs) -> None:
        """Store the costs of an architecture for a task; `code` is the hash of its blocks' code.

        A later count replaces an earlier one.
        """
        row = {"fingerprint": fingerprint, "task": task, "code": code}
        insert = self.database.dialect.insert(CostRow).values(row | asdict(costs))
        with self.database.write() as session:
            session.execute(insert.on_conflict_do_update(index_elements=list(row), set_=asdict(costs)))

    def get_cost(self, fingerprint: str, task: str, code: str) -> Costs | None:
        """The costs of an architecture for a task, counted with this code of its blocks, or None."""
        with self.database.read() as session:
            row = session.get(CostRow, (fingerprint, task, code))
            return record(Costs, {f.name: getattr(row, f.name) for f in fields(Costs)}) if row else None

    def put_latency(
        self, fingerprint: str, task: str, code: str, key: str, protocol: Mapping[str, Any], figures: Mapping[str, Any]
    ) -> None:
        """Store a latency under the key of its protocol (device, backend, batch, dtype, threads, versions)."""
        with self.database.write() as session:
            row: dict[str, Any] = {"fingerprint": fingerprint, "task": task, "code": code, "protocol": key}
            row |= {
                "protocol_json": dict(protocol),
                "figures": numbers(figures),
                "host": platform.node(),
                "created": self.database.dialect.now(session),
            }
            session.execute(self.database.dialect.insert(LatencyRow).values(row))

    def get_latency(self, fingerprint: str, task: str, code: str, key: str) -> StoredLatency | None:
        """The newest latency of an architecture for a task, with this code of its blocks, under a protocol, or None."""
        same = {"fingerprint": fingerprint, "task": task, "code": code, "protocol": key}
        with self.database.read() as session:
            row = session.scalar(select(LatencyRow).filter_by(**same).order_by(LatencyRow.id.desc()).limit(1))
            if row is None:
                return None
            known = {"protocol": row.protocol_json, "figures": row.figures, "host": row.host, "created": row.created}
            return record(StoredLatency, known)

    def put_predictor(
        self, space: str, task: str, key: str, protocol: Mapping[str, Any], fit: Mapping[str, Any]
    ) -> None:
        """Store a fitted predictor for a space (its digest), a task and a protocol; a later fit replaces it."""
        row: dict[str, Any] = {"space": space, "task": task, "protocol": key}
        with self.database.write() as session:
            rest = {"protocol_json": dict(protocol), "fit": dict(fit), "created": self.database.dialect.now(session)}
            insert = self.database.dialect.insert(PredictorRow).values({**row, **rest})
            session.execute(insert.on_conflict_do_update(index_elements=list(row), set_=rest))

    def get_predictor(self, space: str, task: str, key: str) -> Mapping[str, Any] | None:
        """The fit for a space, a task and a protocol, or None."""
        with self.database.read() as session:
            row = session.get(PredictorRow, (space, task, key))
            return row.fit if row else None


def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values that are not finite by None, as neither SQLite's columns nor JSON have NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
