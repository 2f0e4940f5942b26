"""The sandbox's PostgreSQL: the same local server that rehearsals use."""

from rollbackd.postgres.local_server import PostgresServer, find_binaries

__all__ = ["PostgresServer", "find_binaries"]
