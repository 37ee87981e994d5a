"""A load generator in a process of its own: keep-alive clients that send the same bytes again.

Run as ``python -m benchmarks.load PORT CLIENTS SECONDS`` with the request on stdin; prints
``{"p50": seconds, "rate": per second, "errors": n}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop


class Client(asyncio.Protocol):
    """Sends the request, waits for the whole answer, sends it again."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self.request = request
        self.until = until
        self.latencies = latencies
        self.errors = 0
        self.buffer = b""
        self.sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self.buffer.lower().find(b"content-length: ", 0, head)
        size = int(self.buffer[at + 16 : self.buffer.find(b"\r", at)])
        if len(self.buffer) < head + 4 + size:
            return
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        if (
            not self.buffer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))
            or b"x-amz-function-error" in self.buffer.lower()
        ):
            self.errors += 1
        self.buffer = b""
        if now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def run(port: int, clients: int, seconds: float, request: bytes) -> None:
    """Load for a while and print the figures."""
    latencies: list[float] = []
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(clients):
        _, client = await loop.create_connection(
            lambda: Client(request, began + seconds, latencies), "127.0.0.1", port
        )
        made.append(client)
    await asyncio.gather(*(client.done for client in made))
    took = time.perf_counter() - began
    latencies.sort()
    print(
        json.dumps(
            {
                "p50": latencies[len(latencies) // 2],
                "p99": latencies[int(len(latencies) * 0.99)],
                "rate": len(latencies) / took,
                "errors": sum(client.errors for client in made),
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.stdin.buffer.read()))
