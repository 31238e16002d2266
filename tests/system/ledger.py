# SPDX-License-Identifier: ISC
"""What is known of messages: whose delivery was acknowledged, which were named by a QUIT, and how that was answered.

Events are told in the order in which they became known, each before it begins and after it was acknowledged; then what a
maildrop shows can be judged: each message that must be there is, whole and under the UIDL it had; none is that was removed
by an acknowledged QUIT; of what was under way each is whole or not there at all.
"""
import json
import random
import re

BEGUN, THERE, GOING, GONE = "begun", "there", "going", "gone"


def message(number):
    """The octets of message number: of many sizes, and none like another."""
    rng = random.Random(number)
    lines = [b"Subject: message %d" % number, b""]
    lines += [b"%d/%d %x" % (number, line, rng.getrandbits(4 * rng.randrange(1, 60))) for line in range(rng.choice((1, 5, 40, 40, 400, 4000)))]
    return b"\n".join(lines) + b"\n"


def number_of(octets):
    """Which message this is, as it came over POP3; None when it is not one of them, or not whole."""
    found = re.search(rb"^Subject: message (\d+)\r\n", octets, re.M)
    if not found or octets[found.start():] != message(int(found[1])).replace(b"\n", b"\r\n"):
        return None
    return int(found[1])


class Ledger:
    def __init__(self):
        self.state, self.user, self.uidl = {}, {}, {}

    def tell(self, event):
        """event: an octet string made by one of the functions below."""
        word, user, value = json.loads(event)
        if word == "seen":
            for uidl, number in value:
                self.uidl.setdefault(number, uidl)
            return
        for number in value:
            self.user[number] = user
            # A client may remove a message before its deliverer hears that it is there.
            if word != "delivered" or self.state[number] == BEGUN:
                self.state[number] = {"deliver": BEGUN, "delivered": THERE, "quit": GOING, "quitted": GONE}[word]

    def judge(self, user, found):
        """What is wrong with a maildrop that shows these (uidl, octets); a list of sentences."""
        wrong, seen = [], {}
        if len({uidl for uidl, _ in found}) != len(found):
            wrong.append(f"{user}: a UIDL twice: {sorted(uidl for uidl, _ in found)}")
        for uidl, octets in found:
            number = number_of(octets)
            if number is None:
                wrong.append(f"{user}: {uidl}: not whole, or nobody's: {octets[:100]!r}... ({len(octets)} octets)")
                continue
            if number in seen:
                wrong.append(f"{user}: message {number} twice, as {seen[number]} and {uidl}")
            seen[number] = uidl
            if self.user.get(number) != user:
                wrong.append(f"{user}: message {number} is of {self.user.get(number)}")
            if self.state.get(number) == GONE:
                wrong.append(f"{user}: message {number} is back ({uidl})")
            if self.uidl.get(number, uidl) != uidl:
                wrong.append(f"{user}: message {number} was {self.uidl[number]} and is {uidl}")
        used = {uidl: number for number, uidl in self.uidl.items() if self.user[number] == user}
        for number, uidl in seen.items():
            if used.get(uidl, number) != number:
                wrong.append(f"{user}: {uidl} was message {used[uidl]} and is {number}")
        for number, state in self.state.items():
            if state == THERE and self.user[number] == user and number not in seen:
                wrong.append(f"{user}: message {number} is lost ({self.uidl.get(number)})")
        return wrong


def event(word, user, *numbers):
    return json.dumps([word, user, numbers]).encode()


def seen(user, pairs):
    """pairs: (uidl, number)."""
    return json.dumps(["seen", user, pairs]).encode()
