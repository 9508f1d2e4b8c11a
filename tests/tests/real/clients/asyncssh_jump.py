"""Runs a command on web01 through a gate with asyncssh: GATE PORT KEY USER COMMAND."""
import asyncio
import sys

import asyncssh

gate, port, key, user, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
plain = {"client_keys": [key], "known_hosts": None, "config": None, "agent_path": None}


async def main() -> None:
    async with asyncssh.connect(gate, port=port, username="openidcs", **plain) as jump:
        async with asyncssh.connect("web01", username=user, tunnel=jump, **plain) as machine:
            answer = await asyncio.wait_for(machine.run(command, check=True), 10)
            print(answer.stdout, end="")


asyncio.run(main())
