"""A mail server that is not ours, for the tests: aiosmtpd on a free port of the loopback.

    /usr/bin/python3 server.py DIRECTORY [--before-ms N] [--after-ms N] [--slow-ms N] [--hold-ms N]
        [--ask-ms N]

It prints its port, and ends when its standard input does. Each message it accepts is one line of
JSON in DIRECTORY/accepted.jsonl, synced to disk before the 250 is sent, so the file is the oracle:
what is in it was accepted, and nothing else was. The message itself is kept beside it.

What becomes of a message hangs on the first part of its recipient:

    hard-…         550 5.1.1 at RCPT
    soft-…         452 4.2.2 at RCPT, the first time
    slow-…         accepted, --slow-ms later than others
    unheard-…      the first time, --ask-ms pass before it may come, and --hold-ms before it is
                   accepted; the file DIRECTORY/asked tells that one waits to come
    unanswered-…   the first time, --hold-ms pass between accepting it and saying so

A client that hangs up before its message is accepted has not sent it.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from email.parser import BytesHeaderParser
from email.policy import default

from aiosmtpd.smtp import SMTP


class Recipients:
    def __init__(self, options):
        self.options = options
        self.seen = set()
        self.accepted = 0
        self.log = open(os.path.join(options.directory, "accepted.jsonl"), "ab")

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("hard-"):
            return "550 5.1.1 no such user"
        if address.startswith("soft-") and self.is_first(address):
            return "452 4.2.2 mailbox full"
        if address.startswith("unheard-") and self.options.ask_ms and self.is_first(("asked", address)):
            open(os.path.join(self.options.directory, "asked"), "w").close()
            await asyncio.sleep(self.options.ask_ms / 1000)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        address = envelope.rcpt_tos[0]
        options = self.options
        before = options.before_ms
        after = options.after_ms
        if address.startswith("slow-"):
            before += options.slow_ms
        if address.startswith("unheard-") and self.is_first(address):
            before = options.hold_ms
        if address.startswith("unanswered-") and self.is_first(address):
            after = options.hold_ms
        await asyncio.sleep(before / 1000)
        number = self.accept(address, envelope.content)
        await asyncio.sleep(after / 1000)
        return f"250 2.0.0 Ok: queued as {number}"

    def is_first(self, what):
        known = what in self.seen
        self.seen.add(what)
        return not known

    def accept(self, address, content):
        self.accepted += 1
        name = f"{self.accepted}.eml"
        with open(os.path.join(self.options.directory, name), "wb") as message:
            message.write(content)
        headers = BytesHeaderParser(policy=default).parsebytes(content)
        line = {
            "send": headers["X-Meridian-Send"],
            "message_id": headers["Message-ID"],
            "in_reply_to": headers["In-Reply-To"],
            "subject": headers["Subject"],
            "unsubscribe": headers["List-Unsubscribe"],
            "to": address,
            "at": time.time(),
            "file": name,
        }
        self.log.write(json.dumps(line).encode() + b"\n")
        self.log.flush()
        os.fsync(self.log.fileno())
        return self.accepted


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--before-ms", type=int, default=0)
    parser.add_argument("--after-ms", type=int, default=0)
    parser.add_argument("--slow-ms", type=int, default=0)
    parser.add_argument("--hold-ms", type=int, default=0)
    parser.add_argument("--ask-ms", type=int, default=0)
    recipients = Recipients(parser.parse_args())
    loop = asyncio.get_running_loop()
    smtp = lambda: SMTP(recipients, hostname="localhost")
    server = await loop.create_server(smtp, "127.0.0.1", 0)
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
