"""A filter that does what the field X-Do asks for, and writes down what it is told.

every.py ADDRESS FILE [negotiated bits to ask for]
"""
import hashlib
import json
import sys
import time

import Milter

written = open(sys.argv[2], "a", buffering=1)


class Every(Milter.Base):
    def note(self, *what):
        written.write(json.dumps(what) + "\n")

    def connect(self, name, family, address):
        self.note("connect", name, family, address[0] if address else None)
        return Milter.CONTINUE

    def hello(self, name):
        self.note("hello", name)
        return self.by_name(name)

    def envfrom(self, sender, *params):
        self.note("from", sender, *params)
        self.headers, self.octets, self.todo = [], hashlib.sha256(), []
        self.note("macros", self.getsymval("j") is not None, self.getsymval("{mail_addr}"))
        return self.by_name(sender)

    def envrcpt(self, to, *params):
        self.note("to", to, *params)
        self.note("macros", self.getsymval("{rcpt_addr}"))
        return self.by_name(to)

    def data(self):
        self.note("data")
        return Milter.CONTINUE

    def header(self, name, value):
        self.note("header", name, value)
        if name == "X-Do":
            self.todo = value.split()
        if "at-header" in self.todo:
            return self.act(self.todo[-1])
        return Milter.CONTINUE

    def eoh(self):
        self.note("eoh")
        return self.act(self.todo[-1]) if "at-eoh" in self.todo else Milter.CONTINUE

    def body(self, piece):
        self.octets.update(piece)
        return self.act(self.todo[-1]) if "at-body" in self.todo else Milter.CONTINUE

    def eom(self):
        self.note("eom", self.octets.hexdigest(), self.getsymval("i") is not None)
        for word in self.todo:
            done = self.act(word)
            if done != Milter.CONTINUE:
                return done
        return Milter.CONTINUE

    def abort(self):
        self.note("abort")
        return Milter.CONTINUE

    def close(self):
        self.note("close")
        return Milter.CONTINUE

    def by_name(self, text):
        word = text.strip("<>").split("@")[0].split(".")[0]
        return self.act(word)

    def act(self, word):
        if word == "add":
            self.addheader("X-Added", "at the end\n\tfolded")
        elif word.startswith("insert"):
            self.addheader("X-Inserted", word, int(word[6:]))
        elif word == "change":
            self.chgheader("X-Twice", 2, "changed")
        elif word == "remove":
            self.chgheader("X-Twice", 1, "")
        elif word == "change-none":
            self.chgheader("X-None", 1, "new")
        elif word == "change-received":
            self.chgheader("Received", 1, "changed")
        elif word == "body":
            self.replacebody(b"another\r\nbody\nof lines\r\n" + b"x" * 70_000 + b"\r\nno end")
        elif word == "empty":
            self.replacebody(b"")
        elif word == "sender":
            self.chgfrom("<new@example.net>")
        elif word == "sender-with":
            self.chgfrom("<new@example.net>", "RET=HDRS ENVID=abc")
        elif word == "more":
            self.addrcpt("<c@example.com>")
        elif word == "more-with":
            self.addrcpt("<d@example.com>", "NOTIFY=NEVER")
        elif word == "less":
            self.delrcpt("<b@example.com>")
        elif word == "quarantine":
            self.quarantine("it smells")
        elif word == "progress":
            for _ in range(3):
                time.sleep(0.05)
                self.progress()
        elif word == "reject":
            return Milter.REJECT
        elif word == "tempfail":
            return Milter.TEMPFAIL
        elif word == "discard":
            return Milter.DISCARD
        elif word == "accept":
            return Milter.ACCEPT
        elif word == "reply":
            self.setreply("554", "5.6.7", "no 100%% such thing")
            return Milter.REJECT
        elif word == "reply-later":
            self.setreply("452", "4.2.1", "not now")
            return Milter.TEMPFAIL
        elif word == "lines":
            self.setreply("550", "5.7.3", "one", "two", "three")
            return Milter.REJECT
        elif word == "hang":
            time.sleep(3600)
        return Milter.CONTINUE


Milter.factory = Every
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT
                 | Milter.DELRCPT | Milter.QUARANTINE | Milter.CHGFROM | Milter.ADDRCPT_PAR)
if "leading" in sys.argv[3:]:
    Milter.enable_protocols(Every, Milter.P_HDR_LEADSPC)
Milter.runmilter("every", sys.argv[1], 600)
