"""The pure core: facts in, one decision out. No I/O, no clock, no asyncio, no logging."""
