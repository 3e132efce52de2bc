#!/usr/bin/env python3
"""What the HTTP front makes of hostile clients: connections.py ENDPOINTS_JSON [CONNECTIONS]

Idle connections, half-sent heads and bodies, and bodies of 50 MB, all at once; then one ordinary request. Says how they ended and how much
memory the platform took. Needs Python 3.10 and nothing else, and `ulimit -n` above the number of connections."""

import asyncio
import collections
import json
import sys
import time
import urllib.request

endpoints = json.load(open(sys.argv[1], encoding="utf-8"))
wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
host, port = endpoints["api"].removeprefix("http://").split(":")
HEAD = "POST /v1/decisions HTTP/1.1\r\nhost: front\r\ncontent-type: application/json\r\n"
KINDS = {
    "idle": b"",
    "half a head": b"POST /v1/decisions HTTP/1.1\r\nho",
    "half a body": (HEAD + "content-length: 100000\r\n\r\n").encode() + b"{" * 50_000,
    "50 MB announced": (HEAD + "content-length: 50000000\r\n\r\n").encode() + b"x" * 1000,
    "health": b"GET /v1/health HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n",
}
ends: collections.Counter = collections.Counter()


async def one(kind: str, said: bytes, places: asyncio.Semaphore) -> None:
    try:
        async with places:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 60)
        writer.write(said)
        answer = await asyncio.wait_for(reader.read(4096), 90)
        status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"
        writer.close()
    except (OSError, asyncio.TimeoutError) as error:
        status = type(error).__name__
    ends[f"{kind}: {status}"] += 1


def memory_mb() -> int:
    """Of the process that listens, by its port."""
    import os
    import re

    inode = None
    with open("/proc/net/tcp", encoding="utf-8") as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(f":{int(port):04X}") and fields[3] == "0A":
                inode = fields[9]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = (os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))
            if f"socket:[{inode}]" in links:
                return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status", encoding="utf-8").read())[1]) // 1024
        except OSError:
            continue
    return 0


async def main() -> None:
    before, began = memory_mb(), time.monotonic()
    places = asyncio.Semaphore(500)
    kinds = list(KINDS.items())
    tasks = [asyncio.create_task(one(*kinds[index % len(kinds)], places)) for index in range(wanted)]
    most = before
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.5)
        most = max(most, memory_mb())
    await asyncio.gather(*tasks)
    with urllib.request.urlopen(endpoints["api"] + "/v1/health", timeout=30) as answer:
        after = answer.status
    print(json.dumps({"ends": dict(sorted(ends.items())), "health after": after, "seconds": round(time.monotonic() - began, 1),
                      "memory_mb": {"before": before, "most": most, "after": memory_mb()}}, indent=1))


asyncio.run(main())
