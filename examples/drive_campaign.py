#!/usr/bin/env python3
"""Drives a campaign by the HTTP API alone, as a program of yours would: brings leads in, makes the
campaign, looks ahead, starts it, takes over those who answer, and sees it to its end.

    export MERIDIAN_API_KEY=mk_...        # from: meridian key create --name "my program" --role operator
    python3 examples/drive_campaign.py --senders ada,ben [http://127.0.0.1:8080]

It needs Python 3.9 and nothing else. Interrupted, it may be run again: it goes on where it was, because
what it makes has names and every request that changes something has an Idempotency-Key.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

LEADS = """\
email,first_name,city,zone
ana@table-for-two.example,Ana,Lisboa,Europe/Lisbon
bruno@table-for-two.example,Bruno,Porto,Europe/Lisbon
carla@table-for-two.example,Carla,Faro,Europe/Lisbon
"""

TAG = "table-for-two"


def document(name, senders):
    """The same document as a campaign file, as JSON."""
    return {
        "name": name,
        "description": "Made by examples/drive_campaign.py",
        "senders": senders,
        "audience": {"tags": [TAG]},
        "zone": "Europe/Lisbon",
        "handover": {"to": "desk@table-for-two.example", "answer_within": "2 days"},
        "steps": [
            {
                "key": "intro",
                "email": {
                    "subject": "A table for you in {{ city }}, {{ first_name }}",
                    "body": "Hello {{ first_name }},\n\nwe open again on the 12th. May we keep a table for you?",
                },
            },
            {
                "key": "farewell",
                "wait": "3 days",
                "email": {"body": "Hello {{ first_name }},\n\nthe last tables are going. A word is enough."},
            },
        ],
    }


class Refused(Exception):
    """A problem document (RFC 9457): what is wrong, and what to do about it."""

    def __init__(self, problem):
        faults = "".join(f"\n  {it['field']}: {it['message']}" for it in problem.get("errors", []))
        super().__init__(f"{problem['title']}: {problem['detail']}{faults}")
        self.status = problem["status"]


class Meridian:
    """The API, for somebody with a key."""

    def __init__(self, url, key):
        self.base = f"{url.rstrip('/')}/api/v1"
        self.key = key

    def get(self, path, **query):
        query = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self.ask("GET", path + query)

    def pages(self, path, **query):
        """Every item of a list: `next` of one page is `cursor` of the next."""
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if "next" not in page:
                return
            query["cursor"] = page["next"]

    def post(self, path, body=None, content_type="application/json"):
        if body is not None and content_type == "application/json":
            body = json.dumps(body)
        return self.ask("POST", path, body, content_type)

    def ask(self, method, path, body=None, content_type=None):
        headers = {"Authorization": f"Bearer {self.key}"}
        if body is not None:
            headers["Content-Type"] = content_type
        if method == "POST":
            # Under the same name a repeat is answered as the first time, and done once.
            headers["Idempotency-Key"] = str(uuid.uuid4())
        data = None if body is None else body.encode()
        for patience in range(10, -1, -1):
            request = urllib.request.Request(self.base + path, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return read(answer)
            except urllib.error.HTTPError as error:
                wait = error.headers.get("Retry-After")
                problem = read(error)
                # Too many requests, or something is away for a moment.
                if wait is None or patience == 0:
                    raise Refused(problem) from None
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                # Nobody knows whether it was done: the same request again is safe.
                if patience == 0:
                    raise
                wait = 1
            time.sleep(int(wait))


def read(answer):
    text = answer.read()
    is_json = "json" in answer.headers.get("Content-Type", "")
    if is_json:
        return json.loads(text)
    if isinstance(answer, urllib.error.HTTPError):
        return {"title": "Failed", "detail": text.decode(errors="replace"), "status": answer.code}
    return None


def say(text):
    print(text, flush=True)


def make(meridian, name, senders):
    """Returns the campaign of this name, made if need be."""
    new = document(name, senders)
    faults = meridian.post("/sequences/validate", new)["faults"]
    if faults:
        sys.exit("\n".join(f"{it['field']}: {it['message']}" for it in faults))
    for campaign in meridian.pages("/campaigns"):
        if campaign["name"] == name:
            say(f"campaign {name} is there already, and {campaign['status']}")
            return campaign
    campaign = meridian.post("/campaigns", new)
    say(f"campaign {name} is a draft: {campaign['id']}")
    for step in campaign["unserved_steps"]:
        say(f"  no sender for step {step}")
    return campaign


def look_ahead(meridian, campaign):
    ahead = meridian.post(f"/campaigns/{campaign['id']}/rehearse", {"courses_max": 0})
    say(f"if nobody answers: {ahead['touches']} messages to {ahead['leads']} leads, until {ahead['last_at']}")
    for day in ahead["days"]:
        say(f"  {day['day']}: {day['total']}")
    for held in ahead["held"]:
        say(f"  {held['leads']} would be held at {held['step']}: {held['why']}")


def take_over(meridian, name):
    """Accepts, answers and closes what is offered to people; a real program would tell one."""
    for handover in meridian.get("/handovers")["items"]:
        if handover["campaign"] != name:
            continue
        path = f"/handovers/{handover['enrollment']}"
        verbs = {
            "offered": [("accept", {}), ("answered", None), ("close", {"result": "won"})],
            "accepted": [("answered", None), ("close", {"result": "won"})],
            "answered": [("close", {"result": "won"})],
        }
        for verb, body in verbs.get(handover["state"], []):
            meridian.post(f"{path}/{verb}", body)
        say(f"{handover['email']} answered; taken over and won")


def follow(meridian, campaign, seconds):
    """Watches until nobody is under way. Returns the campaign as it is then."""
    path, seen, until = f"/campaigns/{campaign['id']}", None, time.monotonic() + seconds
    while True:
        campaign = meridian.get(path)
        states = ", ".join(f"{state} {n}" for state, n in sorted(campaign["states"].items()))
        line = f"{campaign['status']}: sent {campaign['sent']}; {states}"
        if line != seen:
            say(line)
            seen = line
        take_over(meridian, campaign["name"])
        has_begun = "start_at" not in campaign
        if has_begun and campaign["live"] == 0:
            return campaign
        if time.monotonic() > until:
            say(f"it goes on by itself; {campaign['live']} leads are under way")
            return campaign
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--name", default="table-for-two", help="of the campaign")
    parser.add_argument("--senders", required=True, help="who sends, by name: ada,ben")
    parser.add_argument("--follow", type=float, default=300, metavar="SECONDS", help="how long to watch")
    arguments = parser.parse_args()
    key = os.environ.get("MERIDIAN_API_KEY")
    if not key:
        sys.exit("set MERIDIAN_API_KEY: meridian key create --name 'my program' --role operator")
    meridian = Meridian(arguments.url, key)
    imported = meridian.post(f"/leads/import?tags={TAG}&merge=fill", LEADS, "text/csv")
    say(f"leads: {imported['added']} new, {imported['refused']} refused")
    campaign = make(meridian, arguments.name, arguments.senders.split(","))
    if campaign["status"] == "draft":
        look_ahead(meridian, campaign)
        meridian.post(f"/campaigns/{campaign['id']}/start")
    campaign = follow(meridian, campaign, arguments.follow)
    for lead in meridian.pages(f"/campaigns/{campaign['id']}/enrollments", limit=100):
        shown = meridian.get(f"/enrollments/{lead['id']}")
        sent = sum(it["kind"] == "step" and it["state"] == "accepted" for it in shown["sends"])
        say(f"{lead['email']}: {lead['state']}, {sent} sent")
        for entry in meridian.pages(f"/enrollments/{lead['id']}/journal"):
            say(f"  {entry['at']}  {entry['what']}")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
    except KeyboardInterrupt:
        sys.exit("interrupted; the campaign goes on by itself")
