"""Runs a command on web01 through a gate with paramiko: GATE PORT KEY USER COMMAND."""
import sys

import paramiko

gate, port, key, user, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]


def connected(host: str, port: int, user: str, sock=None) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        host, port=port, username=user, key_filename=key, allow_agent=False, look_for_keys=False, sock=sock, timeout=10
    )
    return client


jump = connected(gate, port, "openidcs")
channel = jump.get_transport().open_channel("direct-tcpip", ("web01", 22), ("127.0.0.1", 0))
machine = connected("web01", 22, user, channel)
_, output, _ = machine.exec_command(command, timeout=10)
print(output.read().decode(), end="")
machine.close()
jump.close()
