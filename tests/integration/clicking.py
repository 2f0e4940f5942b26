"""A headless Chromium that is told what to do over its pipe, with scripts switched off.

async with clicking(directory) as tab:
    await tab.go(address); await tab.click("form button"); await tab.type("input", "why")
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.peers import binary

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--remote-debugging-pipe",
)  # fmt: skip


class PageChanged(Exception):
    """The page made way for the next one between two questions about it."""


@dataclass
class Tab:
    reader: asyncio.StreamReader
    writer: int
    session: str = ""
    number: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            told = json.loads((await self.reader.readuntil(b"\0"))[:-1])
            if told.get("id") == self.number:
                if "find node with given id" in told.get("error", {}).get("message", ""):
                    raise PageChanged
                assert "error" not in told, told
                return dict(told["result"])
            self.events.append(told)

    async def go(self, address: str) -> None:
        await self.ask("Page.navigate", url=address)

    async def text(self) -> str:
        """The page as HTML, as it is now."""
        while True:
            with contextlib.suppress(PageChanged):
                root = (await self.ask("DOM.getDocument"))["root"]["nodeId"]
                return str((await self.ask("DOM.getOuterHTML", nodeId=root))["outerHTML"])

    async def click(self, selector: str) -> None:
        """In the middle of the first element that fits, with the mouse."""
        while True:
            with contextlib.suppress(PageChanged):
                place = await self._place(selector)
                break
        for kind in ("mousePressed", "mouseReleased"):
            mouse = {"type": kind, "button": "left", "clickCount": 1, **place}
            await self.ask("Input.dispatchMouseEvent", **mouse)

    async def _place(self, selector: str) -> dict[str, float]:
        root = (await self.ask("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.ask("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        assert node, f"no {selector}"
        await self.ask("DOM.scrollIntoViewIfNeeded", nodeId=node)
        quad = (await self.ask("DOM.getContentQuads", nodeId=node))["quads"][0]
        return {"x": sum(quad[0::2]) / 4, "y": sum(quad[1::2]) / 4}

    async def type(self, selector: str, words: str) -> None:
        await self.click(selector)
        await self.ask("Input.insertText", text=words)


@contextlib.asynccontextmanager
async def clicking(directory: Path) -> AsyncIterator[Tab]:
    """A fresh browser with one tab."""
    to_read, to_tell = os.pipe()
    to_hear, to_answer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_answer}', "-"),
        *(binary("chromium"), *_FLAGS, f"--user-data-dir={directory / 'clicking'}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(to_read, to_answer),
        cwd=directory,
    )
    os.close(to_read)
    os.close(to_answer)
    reader = asyncio.StreamReader(limit=2**24)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(to_hear, "rb")
    )
    tab = Tab(reader, to_tell)
    try:
        target = (await tab.ask("Target.createTarget", url="about:blank"))["targetId"]
        session = await tab.ask("Target.attachToTarget", targetId=target, flatten=True)
        tab.session = session["sessionId"]
        await tab.ask("Page.enable")
        await tab.ask("Emulation.setScriptExecutionDisabled", value=True)
        yield tab
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        transport.close()
        os.close(to_tell)
