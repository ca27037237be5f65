"""Values and decisions of EZREC: pure, no I/O, no asyncio."""
