"""What happens to a machine over real time: boot, its process, checks, exits and restarts."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from contextlib import suppress
from pathlib import Path

from rollbackd.sandbox import checks
from rollbackd.sandbox.contents import behaviour_of, image_of, listens_where_told
from rollbackd.sandbox.ids import rfc3339_precise
from rollbackd.sandbox.objects import Machine
from rollbackd.sandbox.world import World

PROGRAM = str(Path(__file__).with_name("image.py"))
OOM_EXIT = 137
KILL_AFTER_SECONDS = 2.0
RESTARTS_DEFAULT = 10
_ENDING = frozenset({"stopping", "suspending", "destroying"})


class Life:
    """Starts and ends machines. Whether one may is decided elsewhere."""

    def __init__(self, world: World) -> None:
        self.world = world

    def begin(self, machine: Machine) -> None:
        """Boot in the background. What its restart policy brings back anyway lives once only."""
        if machine.life is None or machine.life.done():
            machine.life = self.world.begin(self.live(machine))

    async def end(self, machine: Machine) -> None:
        """Returns when the process is gone."""
        life, machine.life = machine.life, None
        if life is None or life.done():
            return
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life

    async def live(self, machine: Machine) -> None:
        """Boot, run and restart, until cancelled or until the restart policy has enough."""
        restarts = 0
        while machine.state not in _ENDING:
            machine.become("starting")
            await asyncio.sleep(self._boot_seconds(machine))
            code = await self._run_once(machine)
            restarts += 1
            if not self._exited(machine, code, restarts):
                return
            await asyncio.sleep(self.world.settings.restart_seconds)

    def _boot_seconds(self, machine: Machine) -> float:
        own = machine.boot_seconds
        return self.world.settings.boot_seconds if own is None else own

    async def _run_once(self, machine: Machine) -> int:
        child = await self._spawn(machine)
        output = self.world.begin(self._follow_output(machine, child))
        checks.reset(self.world, machine)
        machine.pid = child.pid
        machine.up_since = machine.last_served_at = self.world.now()
        if machine.state == "starting":  # else somebody stopped or replaced it meanwhile
            machine.state = "started"
        self.world.event(machine, "start", "started", source="flyd")
        watching = self.world.begin(checks.watch(self.world, machine))
        try:
            return await child.wait()
        finally:
            machine.pid = None
            machine.checks = {}
            watching.cancel()
            await _put_down(child)
            output.cancel()

    async def _spawn(self, machine: Machine) -> Process:
        port = machine.port if listens_where_told(machine.config) else 0
        siblings = self.world.app(machine.app).alive()
        options = ["--port", str(port), "--behaviour", behaviour_of(machine)]
        options += ["--label", image_of(machine).tag, "--watch-stdin"]
        options += ["--memory-mb", str(machine.config.get("guest", {}).get("memory_mb", 256))]
        options += ["--dependency", str(self.world.app(machine.app).dependency_port)]
        if machine is min(siblings, key=lambda sibling: sibling.id):
            options.append("--bad")
        # -I -S: the app needs nothing but the standard library, and starts in half the time.
        bare = [] if behaviour_of(machine).startswith("database") else ["-S"]  # that needs psycopg
        command = [sys.executable, "-I", *bare, PROGRAM, *options]
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )

    async def _follow_output(self, machine: Machine, child: Process) -> None:
        assert child.stdout is not None
        app = self.world.app(machine.app)
        while line := await child.stdout.readline():
            self.world.log(app, line.decode(errors="replace").rstrip(), machine=machine.id)

    def _exited(self, machine: Machine, code: int, restarts: int) -> bool:
        """Note an exit nobody asked for; True when the restart policy starts it again."""
        policy = machine.config.get("restart") or {}
        most = int(policy.get("max_retries") or RESTARTS_DEFAULT)
        wanted = policy.get("policy", "on-failure")
        again = wanted == "always" or (wanted == "on-failure" and code != 0)
        restarting = again and restarts <= most
        machine.exits += 1
        machine.oom = code == OOM_EXIT
        machine.state = "failed" if again and not restarting else "stopped"
        self._event_of_exit(machine, code, restarting=restarting, restarts=restarts)
        return restarting

    def note_requested_exit(self, machine: Machine) -> None:
        """A person or the platform asked for the stop."""
        self._event_of_exit(machine, 0, restarting=False, restarts=0, requested=True)

    def _event_of_exit(
        self,
        machine: Machine,
        code: int,
        *,
        restarting: bool,
        restarts: int,
        requested: bool = False,
    ) -> None:
        exit_event = {
            "exit_code": code,
            "guest_exit_code": code,
            "guest_signal": -1,
            "oom_killed": code == OOM_EXIT,
            "requested_stop": requested,
            "restarting": restarting,
            "signal": -1,
            "exited_at": rfc3339_precise(self.world.now()),
        }
        request = {"exit_event": exit_event, "restart_count": restarts}
        self.world.event(machine, "exit", "stopped", source="flyd", **request)


async def _put_down(child: Process) -> None:
    """End the process and its pipes, by force if it does not listen."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(KILL_AFTER_SECONDS):
                await child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):  # it ended at that very moment
                child.kill()
            await child.wait()
    if child.stdin is not None:
        child.stdin.close()
