"""One address per machine: the port stays reserved while the machine is down, and then refuses."""

from __future__ import annotations

import socket


class Ports:
    """Holds a bound socket per machine that never listens (SO_REUSEPORT lets the app bind too)."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def reserve(self, machine_id: str) -> int:
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        self._held[machine_id] = holder
        port: int = holder.getsockname()[1]
        return port

    def release(self, machine_id: str) -> None:
        holder = self._held.pop(machine_id, None)
        if holder is not None:
            holder.close()

    def close(self) -> None:
        for machine_id in list(self._held):
            self.release(machine_id)
