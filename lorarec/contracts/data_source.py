"""DataSource: reads interactions, and perhaps items and users, as they come."""

from __future__ import annotations

from abc import abstractmethod

from lorarec.contracts.plugin import Plugin
from lorarec.data.raw_tables import RawTables


class DataSource(Plugin):
    """Reads tables. Checking, numbering and splitting them is the core's work."""

    @abstractmethod
    def load(self) -> RawTables:
        """Read the tables. Raises DataError naming file, line or row, and field."""
