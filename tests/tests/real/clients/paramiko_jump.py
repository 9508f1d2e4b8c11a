"""Jumps through a gate with paramiko and prints the greeting of web01's sshd: GATE PORT KEY."""
import sys

import paramiko

gate, port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(gate, port=port, username="openidcs", key_filename=key, allow_agent=False, look_for_keys=False)
channel = client.get_transport().open_channel("direct-tcpip", ("web01", 22), ("127.0.0.1", 0))
channel.settimeout(10)
print(channel.recv(255).decode())
client.close()
