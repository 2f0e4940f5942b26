"""Prints what the daemon costs on this machine, as a table; asserts nothing.

`--quick` leaves out what takes minutes. Ratios can be compared between machines, times cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import platform

from database import database
from judging import judging
from living import memory_and_cpu, start_up
from rendering import rendering
from resuming import journal, resumed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="only what takes seconds")
    chosen = options.parse_args()
    today = dt.datetime.now(dt.UTC).date()
    print(f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    show(judging())
    show(rendering())
    show(asyncio.run(start_up(3 if chosen.quick else 5)))
    show(asyncio.run(journal()))
    show(asyncio.run(resumed(3 if chosen.quick else 5)))
    if not chosen.quick:
        show(asyncio.run(database()))
        show(asyncio.run(memory_and_cpu((1, 5))))


def show(rows: list[str]) -> None:
    for row in rows:
        what, _, figure = row.partition(" | ")
        print(f"{what:<58}{figure}", flush=True)


if __name__ == "__main__":
    main()
