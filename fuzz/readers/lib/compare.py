"""Sends what the layer forwards to the readers, and collects what they read otherwise."""

import re
import threading
import time
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from request import Forwarded, Request
from workers import Ended

EXCLUSIONS = Path(__file__).resolve().parent.parent / "exclusions.toml"
# What each reader reads before all else: it must find this model.
PLAIN = {
    "json": (b"application/json", b'{"stream":true,"model":"0xb603","n":{"model":"x"}}'),
    "form": (
        b"multipart/form-data; boundary=XyZ",
        b'--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n'
        b"Content-Type: audio/mpeg\r\n\r\nID3\r\n--XyZ\r\n"
        b'Content-Disposition: form-data; name="model"\r\n\r\n0xb603\r\n--XyZ--\r\n',
    ),
}
# Bodies that the layer never forwards, to see that a finding is one.
KNOWN_BAD = {
    "json": [b'{"model":"0xb603","model":"EVIL"}', b'{"Model":"0xb603"}'],
    "form": [
        b'--XyZ\r\nContent-Disposition: form-data; name="model"\r\n\r\nEVIL\r\n--XyZ--\r\n',
        b'--XyZ\r\nContent-Disposition: form-data; name="Model"\r\n\r\n0xb603\r\n--XyZ--\r\n',
    ],
}
# jsonic merges this into the prototype of all objects, so that every later request has the model.
FOR_ALL_OBJECTS = b'{"a":1,"a":{"__proto__":{"model":"EVIL"},"constructor":1}}'
# Its models may be others than those of the catalog.
OTHER = {"/v1/images/edits"}
CATALOG = {b"v", b"evil"}
SHOWN_FINDINGS = 2
MAX_CRASHES = 5


class Finding:
    def __init__(self, worker, reader, read, request, forwarded):
        self.worker, self.reader, self.read = worker, reader, read
        self.request, self.forwarded = request, forwarded

    def __str__(self):
        id = self.forwarded.id.decode() or "no model"
        return "\n".join(
            [
                f"FINDING: {self.worker.name} {self.reader} reads {self.read}, forwarded was {id}",
                f"  request      {self.request.method} {self.request.target}",
                f"  content type {self.forwarded.content_type!r}",
                f"  sent         {self.request.body!r}",
                f"  forwarded    {self.forwarded.body!r}",
            ]
        )


def difference(outcome, request, forwarded):
    """Returns what a reader reads otherwise, `None` if it agrees or has an error."""
    kind, value, id = outcome[:1], outcome[1:], forwarded.id
    # A blank model is none, also where a reader decodes US-ASCII and replaces the blanks beyond it.
    # Some readers read null as text.
    is_blank = value.decode(errors="replace").replace("\ufffd", "").strip() in ("", "null")
    name = value.removeprefix(b"for all objects: ").strip().lower()
    if not id and (is_blank or request.target in OTHER and name not in CATALOG):
        return None
    if kind == b"V" and value != id:
        return repr(value[:200])[1:]
    if kind == b"A" and id:
        return "none"
    return None


class Comparison:
    def __init__(self, layer, workers, only=""):
        self.layer, self.workers = layer, workers
        self.readers = {}
        self.unusable = {}
        for worker in workers:
            worker.set_batch([PLAIN[worker.kind]])
            self.readers[worker] = []
            for reader in worker.readers:
                if only not in f"{worker.name} {reader}":
                    continue
                outcome = worker.read(reader, budget_ms=20_000)[0]
                if outcome == b"V0xb603":
                    self.readers[worker].append(reader)
                else:
                    self.unusable[worker.name, reader] = outcome
        self.exclusions = [
            (exclusion, re.compile(exclusion["when"].encode("latin-1"), re.S))
            for exclusion in tomllib.loads(EXCLUSIONS.read_text()).get("exclusion", [])
        ]
        self.generated, self.accepted = Counter(), Counter()
        self.codes = Counter()
        self.outcomes = defaultdict(Counter)
        self.findings, self.seen = [], Counter()
        self.crashes, self.crash_reports = Counter(), []
        self.begin = 0
        self.lock = threading.Lock()
        self.pool = ThreadPoolExecutor(len(workers))

    def start_errors(self):
        errors = [
            f"{worker.name} {reader} has not started: {error}"
            for worker in self.workers
            for reader, error in worker.failed.items()
        ]
        for (worker, reader), outcome in self.unusable.items():
            errors.append(f"{worker} {reader} can't read the plain body: {outcome!r}")
        return errors

    def reader_counts(self):
        counts = Counter()
        for worker, readers in self.readers.items():
            counts[worker.kind, worker.registry] += len(readers)
        return counts

    def self_test(self):
        """Passes bodies to the readers that the layer refuses; each kind must give both findings."""
        failed = False
        for kind, bodies in KNOWN_BAD.items():
            content_type = PLAIN[kind][0]
            target = "/v1/chat/completions"
            pairs = [
                (
                    Request("POST", target, content_type, body),
                    Forwarded("ok", b"0xb603", content_type, body),
                )
                for body in bodies
            ]
            self.compare({kind: pairs}, minimize=False)
            found = [finding for finding in self.findings if finding.worker.kind == kind]
            others = sum("EVIL" in finding.read for finding in found)
            none = sum(finding.read == "none" for finding in found)
            print(f"{kind}: {others} readers read another model, {none} none")
            failed |= not (others and none)
            refused = [response.code for response in self.layer.forward([pair[0] for pair in pairs[:1]])]
            if kind == "json" and refused != ["duplicate_model"]:
                print(f"the layer responds with {refused} to a duplicate model")
                failed = True
        failed |= not self.prototype_is_restored()
        print("self-test: failed" if failed else "self-test: passed")
        return int(failed)

    def prototype_is_restored(self):
        """Returns whether the worker reports a model in the prototype once, and then removes it."""
        workers = [worker for worker, readers in self.readers.items() if "jsonic" in readers]
        if not workers:
            print("jsonic, which writes into the prototype of objects, has not started")
            return False
        worker = workers[0]
        content_type = PLAIN["json"][0]
        worker.set_batch([(content_type, FOR_ALL_OBJECTS), (content_type, b"{}")])
        outcomes = worker.read("jsonic", budget_ms=5_000)
        is_right = outcomes == [b"Vfor all objects: EVIL", b"A"]
        if not is_right:
            print(f"jsonic reads {outcomes} of a model for all objects, and of none after it")
        return is_right

    def run(self, bodies, sizes, until):
        """Generates a batch of accepted bodies of each kind, and compares the readers."""
        batches = {}
        for kind, source in bodies.items():
            pairs = []
            while len(pairs) < sizes[kind] and time.monotonic() < until:
                requests = [source.request() for _ in range(1000)]
                self.generated[kind] += len(requests)
                pairs += self.accept(requests)
            batches[kind] = pairs[: 2 * sizes[kind]]
            self.accepted[kind] += len(batches[kind])
        self.begin += 7919
        self.compare(batches)

    def accept(self, requests):
        """Returns those that the layer forwards as requests with a model, with what it forwards."""
        responses = self.layer.forward(requests)
        self.codes.update(response.code for response in responses)
        return [pair for pair in zip(requests, responses) if pair[1].code == "ok"]

    def compare(self, batches, minimize=True):
        def read_all(worker):
            pairs = batches.get(worker.kind)
            if pairs:
                worker.set_batch([(pair[1].content_type, pair[1].body) for pair in pairs])
                for reader in list(self.readers[worker]):
                    self.compare_reader(worker, reader, pairs, minimize)

        list(self.pool.map(read_all, self.workers))

    def compare_reader(self, worker, reader, pairs, minimize):
        try:
            outcomes = worker.read(reader, self.begin % len(pairs))
        except Ended as ended:
            self.crashed(worker, reader, pairs, ended)
            return
        counts = self.outcomes[worker.name, reader]
        counts.update(outcome[:1] for outcome in outcomes)
        found = []
        for outcome, (request, forwarded) in zip(outcomes, pairs):
            read = difference(outcome, request, forwarded)
            if read is None:
                continue
            if self.excluded(worker, reader, read, forwarded):
                counts["excluded"] += 1
                continue
            found.append(Finding(worker, reader, read, request, forwarded))
        for finding in found:
            key = (worker.name, reader, finding.read == "none")
            with self.lock:
                self.seen[key] += 1
                if self.seen[key] > SHOWN_FINDINGS:
                    continue
            if minimize:
                finding = self.minimized(finding)
                worker.set_batch([(pair[1].content_type, pair[1].body) for pair in pairs])
            with self.lock:
                if str(finding) not in map(str, self.findings):
                    self.findings.append(finding)
                    print(finding, flush=True)

    def excluded(self, worker, reader, read, forwarded):
        text = forwarded.content_type + b"\n\n" + forwarded.body
        return any(
            exclusion["reader"] in (reader, f"{worker.name} {reader}")
            and exclusion["reads"] == ("none" if read == "none" else "other")
            and when.search(text)
            for exclusion, when in self.exclusions
        )

    def crashed(self, worker, reader, pairs, ended):
        """Reports the body with which a reader ends its process or hangs."""
        self.crashes[worker.name, reader] += 1
        if self.crashes[worker.name, reader] >= MAX_CRASHES:
            self.readers[worker].remove(reader)
        last = "it is none of them by itself"
        for at in range(len(pairs)):
            try:
                # With no time to take it reads one body.
                worker.read(reader, at, budget_ms=0)
            except Ended:
                last = f"with {pairs[at][1].body[:300]!r}"
                break
        report = f"CRASH: {worker.name} {reader} {ended}, {last}"
        with self.lock:
            self.crash_reports.append(report)
            print(report, flush=True)

    def minimized(self, finding):
        """Takes pieces away as long as the layer accepts the rest and the reader misreads it."""
        end = time.monotonic() + 3
        for field in ("body", "content_type"):
            size = max(1, len(getattr(finding.request, field)) // 2)
            while size:
                at = 0
                while at < len(getattr(finding.request, field)) and time.monotonic() < end:
                    text = getattr(finding.request, field)
                    smaller = replace(finding.request, **{field: text[:at] + text[at + size :]})
                    found = self.again(finding, smaller)
                    if found:
                        finding = found
                    else:
                        at += size
                size //= 2
        return finding

    def again(self, finding, request):
        forwarded = self.layer.forward([request])[0]
        if forwarded.code != "ok" or bool(forwarded.id) != bool(finding.forwarded.id):
            return None
        worker, reader = finding.worker, finding.reader
        worker.set_batch([(forwarded.content_type, forwarded.body)])
        try:
            read = difference(worker.read(reader, budget_ms=5_000)[0], request, forwarded)
        except Ended:
            return None
        if read is None or (read == "none") != (finding.read == "none"):
            return None
        if self.excluded(worker, reader, read, forwarded):
            return None
        return Finding(worker, reader, read, request, forwarded)

    def report(self, errors, seconds):
        print(f"\n{'reader':<50}{'read':>9}{'none':>9}{'error':>9}{'hung':>7}{'skipped':>9}{'excluded':>9}")
        for (worker, reader), counts in sorted(self.outcomes.items()):
            columns = [counts[b"V"], counts[b"A"], counts[b"E"]]
            text = "".join(f"{count:>9}" for count in columns)
            more = f"{counts[b'H']:>7}{counts[b'S']:>9}{counts['excluded']:>9}"
            print(f"{worker + ' ' + reader:<50}{text}{more}")
        print("\nThe layer's responses to generated requests:")
        for code, count in self.codes.most_common():
            print(f"  {code}: {count}")
        for kind in self.generated:
            generated, accepted = self.generated[kind], self.accepted[kind]
            print(f"{kind} bodies: {generated} generated, {accepted} accepted and read, {accepted / seconds:.0f}/s")
        for (kind, registry), count in sorted(self.reader_counts().items()):
            print(f"{kind} readers from {registry}: {count}")
        total = sum(sum(counts[kind] for kind in (b"V", b"A", b"E")) for counts in self.outcomes.values())
        print(f"bodies read: {total}")
        for report in self.crash_reports:
            print(report)
        for key, count in sorted(self.seen.items()):
            print(f"FINDINGS: {key[0]} {key[1]} reads {'none' if key[2] else 'another model'}: {count} bodies")
        for error in errors:
            print(f"ERROR: {error}")
        failed = bool(errors or self.seen)
        print("failed" if failed else "passed")
        return int(failed)
