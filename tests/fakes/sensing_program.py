"""A process at the other end of the sensing link that does what its first argument says.

``python sensing_program.py SCRIPT LOG --fd N``; SCRIPT is a list of steps, separated by blanks:

- ``send:TEXT``   a payload with that text and ``[{"after": TEXT}]`` as memory
- ``done``        DONE
- ``exit:CODE``   end at once
- ``say:TEXT``    a sentence on stderr
- ``nonsense``    bytes that are no frame
- ``hear``        until SET_CADENCE; LOG gets ``{"cadence_s": …}``
- ``wait``        until STOP; then send ``last``
- ``deaf``        ignore STOP for ever

With ``A|B`` the first life runs A, every later one B. START's memory is appended to LOG.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from chipwatt.agent import sensing_link as link


def main() -> None:
    script, log, descriptor = sys.argv[1], Path(sys.argv[2]), int(sys.argv[4])
    sock = socket.socket(fileno=descriptor)
    reader = link.FrameReader()
    start, *heard = receive(sock, reader)
    assert isinstance(start, link.Start)
    lives = script.split("|")
    lines = log.read_text().splitlines() if log.exists() else []
    earlier = sum(line.startswith("[") for line in lines)
    with log.open("a") as file:
        file.write(json.dumps(start.memory) + "\n")
    for step in lives[min(earlier, len(lives) - 1)].split():
        name, _, argument = step.partition(":")
        if name == "send":
            payload = argument.encode()
            sock.sendall(link.encode(link.Payload(payload, [{"after": argument}])))
        elif name == "done":
            sock.sendall(link.encode(link.Done()))
        elif name == "exit":
            sys.exit(int(argument))
        elif name == "say":
            print(f"chipwatt sensing: {argument}", file=sys.stderr)
        elif name == "nonsense":
            sock.sendall(b"\xff" * 64)
        elif name == "hear":
            heard = heard or receive(sock, reader)
            cadence = heard.pop(0)
            assert isinstance(cadence, link.SetCadence)
            with log.open("a") as file:
                file.write(json.dumps({"cadence_s": cadence.batch_s}) + "\n")
        elif name == "deaf":
            time.sleep(600)
        elif name == "wait":
            receive(sock, reader)
            sock.sendall(link.encode(link.Payload(b"last", [{"after": "last"}])))


def receive(sock: socket.socket, reader: link.FrameReader) -> list[link.Message]:
    while data := sock.recv(65536):
        if messages := reader.feed(data):
            return messages
    sys.exit(0)


if __name__ == "__main__":
    main()
