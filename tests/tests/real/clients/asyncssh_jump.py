"""Jumps through a gate with asyncssh and prints the greeting of web01's sshd: GATE PORT KEY."""
import asyncio
import sys

import asyncssh

gate, port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def main() -> None:
    async with asyncssh.connect(
        gate, port=port, username="openidcs", client_keys=[key], known_hosts=None, config=None, agent_path=None
    ) as connection:
        reader, writer = await connection.open_connection("web01", 22)
        print((await asyncio.wait_for(reader.readline(), 10)).decode())
        writer.close()


asyncio.run(main())
