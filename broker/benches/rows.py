"""The rows of the table: the load of each, by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

GRAMMAR = """rows:
  fanSxSIZE     one publisher, S subscribers of one topic, bodies of SIZE, as fast as it goes: fan100x16k
  fanPxTxS      P publishers on T topics, S subscribers of each: fan10x10x10
  subsN         fanNx128
  distinct      fan100x128, and each subscriber has a subscription id of its own
  p2pN          N publishers and N subscribers on N topics
  rateR[xS]     one publisher, R messages per second to S (100) subscribers
  qPCauto, qPCclient, qPCind   P producers and C consumers on P queues, in the three modes of ack: q44ind
  rtt           one message at a time
  churn         connect, subscribe, disconnect, over and over
  idle          connections that do nothing but heart-beats, and a message to all of them

groups: all fan queue life growth"""

GROUPS = {
    "fan": "fan100x128 fan100x1k fan100x16k fan1000x128 distinct fan10x10x10 p2p100 rate200 rate1000",
    "queue": "q11auto q11ind q11client q44auto q44ind",
    "life": "rtt churn idle",
    "growth": "subs10 subs100 subs1000 subs5000",
}
GROUPS["all"] = " ".join(GROUPS.values())


@dataclass(frozen=True)
class Row:
    """The fields are available to the templates of a generator; `kind` selects the template."""

    name: str
    kind: str
    pubs: int = 1
    subs: int = 100
    topics: int = 1
    size: int = 128
    rate: int = 0
    ack: str = "auto"
    prefetch: int = 0


def parse(text: str) -> list[Row]:
    """Rows and groups by name; duplicates are removed."""
    names = [name for word in text.replace(",", " ").split() for name in GROUPS.get(word, word).split()]
    return [_row(name) for name in dict.fromkeys(names)]


def _row(name: str) -> Row:
    if name == "distinct":
        return Row(name, "distinct")
    if name in ("rtt", "churn", "idle"):
        return Row(name, name, subs=1)
    for pattern, make in _PATTERNS:
        match = re.fullmatch(pattern, name)
        if match:
            return make(name, *match.groups())
    raise ValueError(f"there is no row {name}\n\n{GRAMMAR}")


def _fan(name: str, subs: str, size: str, kibi: str) -> Row:
    return Row(name, "fan", subs=int(subs), size=int(size) * (1024 if kibi else 1))


def _many(name: str, pubs: str, topics: str, subs: str) -> Row:
    return Row(name, "fan", pubs=int(pubs), topics=int(topics), subs=int(topics) * int(subs))


def _subs(name: str, subs: str) -> Row:
    return Row(name, "fan", subs=int(subs))


def _p2p(name: str, pairs: str) -> Row:
    return Row(name, "fan", pubs=int(pairs), topics=int(pairs), subs=int(pairs))


def _rate(name: str, rate: str, subs: str | None) -> Row:
    return Row(name, "paced", rate=int(rate), subs=int(subs or 100))


def _queue(name: str, producers: str, consumers: str, ack: str) -> Row:
    pubs, subs = int(producers), int(consumers)
    if ack == "auto":
        return Row(name, "queue", pubs=pubs, subs=subs, topics=pubs)
    mode = {"ind": "client-individual"}.get(ack, ack)
    return Row(name, "queue-ack", pubs=pubs, subs=subs, topics=pubs, ack=mode, prefetch=100)


_N = r"([1-9]\d*)"
_PATTERNS = [
    (rf"fan{_N}x{_N}(k?)", _fan),
    (rf"fan{_N}x{_N}x{_N}", _many),
    (rf"subs{_N}", _subs),
    (rf"p2p{_N}", _p2p),
    (rf"rate{_N}(?:x{_N})?", _rate),
    (r"q(\d)(\d)(auto|client|ind)", _queue),
]
