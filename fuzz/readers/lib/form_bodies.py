"""Generates multipart forms and their content types."""

from json_bodies import inserted
from request import Request

BOUNDARIES = [
    "XyZ", "XyZ", "a", "----WebKitFormBoundary0Az", "--", "-", "a-", "-a", "--a", "x--", "0", "a'b", "a(b)", "a+b",
    "a_b", "a,b", "a/b", "a:b", "a=b", "a?b", "a b", "a.b", " a", "a ", "x\\yz", '"', "'x'", "utf-8''xyz",
    "BOUNDARY=xyz", "boundary=a", "a;b", "a%41", "=?utf-8?q?a?=", "a" * 70, "a" * 71, "\u00e9", "a\tb", "",
]
TYPE_PIECES = [
    b";", b" ", b"\t", b",", b'"', b"'", b"\\", b"*", b"*0", b"=", b"; charset=utf-8", b"; charset=utf-7", b"; charset=utf-16",
    b"; boundary=b", b"; boundary*=utf-8''b", b"; boundary*0=b", b"; boundary=\"b\"", b"; BOUNDARY=b", b"; x=\"; boundary=b\"",
    b"; x=\"", b"; x=y", b", multipart/form-data; boundary=b", b"(c)", b"; ", b";;", b"; =b", b"; boundary", b"\xff", b"; name=model",
    b"; type=text/plain", b";boundary=b;",
]
MEDIA_TYPES = [b"multipart/form-data"] * 12 + [
    b"Multipart/Form-Data", b"MULTIPART/FORM-DATA", b"multipart/mixed", b"multipart/form-data ", b"multipart/related",
    b"multipart/form-data,x", b"application/x-www-form-urlencoded", b"multipart/x-form",
]
DISPOSITIONS = [
    'form-data; name="model"', 'form-data; name="model"', 'form-data; name="a"', 'form-data; name="file"; filename="a.mp3"',
    'form-data; name="file"; filename="a\\"; name=\\"model"', "form-data; name=model", "form-data; name='model'",
    'form-data;name="model"', 'form-data; name="model";', 'form-data;; name="model"', 'form-data; name="a"; name="model"',
    'form-data; name="model"; name="a"', 'form-data; name="a"; name*=utf-8\'\'model', "form-data; name*=utf-8''model",
    'form-data; name*0="mo"; name*1="del"', 'form-data; NAME="model"', 'form-data; name = "model"', 'form-data; name="mod\\el"',
    'form-data; name="mod%65l"', 'form-data; name="=?utf-8?q?model?="', 'form-data; name=" model"', 'form-data; name="model "',
    'form-data; name="Model"', 'form-data; name="model[]"', 'form-data; name="model[0]"', 'form-data; name="model.a"',
    'form-data; name="[model]"', 'form-data; name=".model"', 'form-data; name="model\x00"', 'form-data; name="_model"', 'form-data; name="mo del"',
    'form-data; name="mo.del"', 'form-data; name="mo[del"', 'form-data; name="model"; filename=""', 'form-data; name="model"; filename="x"',
    'form-data; filename="x"; name="model"', 'form-data; name="model"; filename', 'form-data; name="model"; filename*=utf-8\'\'x',
    'attachment; name="model"', 'file; name="model"', 'form-data', 'form-data; name=""', 'form-data; name', "form-data; name=",
    'form-data; name="file"; filename="x\\"', 'form-data; name="file"; filename="\\\\"; name="model"', 'form-data; name="\u00e9"',
    'form-data; name="file"; filename="a;name=model"', "form-data; name=\"file\"; filename='a; name=model'",
    'form-data; name="file"; filename="a\'; name=\'model"', 'form-data; name="file"; filename="a%22; name=%22model"',
    'form-data; name="file"; filename=a"; name="model"', 'form-data; name="file"; filename="C:\\a\\"; name="model"',
    'form-data; name="file"; filename="a\nb"', 'form-data; name="__proto__"', 'form-data; name="$ref"', 'form-data; name="mod\u0435l"',
    'FORM-DATA; name="model"', 'form-data, x; name="model"', 'form-data ; name="model"', 'form-data; \tname="model"', 'form-data; name="_charset_"',
    'form-data; name="file"; filename="x; name=model; y"', 'form-data; name="file"; filename="x name=model; y"',
    'form-data; name="x;name=model"', 'form-data; name="file"; filename="a\\"; name=\\"model\\"; b"',
    'form-data; name="file"; filename="a%22; name=%22model%22; b"', 'form-data; name=""; filename="model"',
    'form-data; name="file"; filename="; filename=x; name=y"', 'form-data; name="a"; filename*=utf-8\'\'%22%3B%20name%3Dmodel',
    'form-data; name="model;a"', 'form-data; name="a;model"', 'form-data; name="a;b"', 'form-data; name="model,a"', 'form-data; name="model=a"',
    'form-data; xname="model"; name="a"', 'form-data; x-name=model; name="a"', 'form-data; filename="; name=model"; name="a"',
]
HEADS = [
    "Content-Type: text/plain", "Content-Type: text/plain; charset=utf-8", "Content-Type: text/plain; charset=utf-7",
    "Content-Type: text/plain; charset=utf-16", "Content-Type: application/octet-stream", "Content-Type: audio/mpeg",
    "Content-Type: application/json", "Content-Type: multipart/mixed; boundary=b", "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable",
    "Content-Transfer-Encoding: binary", "Content-Transfer-Encoding:", "Content-Transfer-Encoding: x",
    "Content-Transfer-Encoding: 8bit", "Content-Transfer-Encoding: 7bit", "Content-Length: 1", "Content-Length: 0", "Content-Encoding: gzip",
    "X: y", "X", ": x", "X : y", " folded", "\tfolded", "Content-ID: <a>", 'content-disposition: form-data; name="model"',
    'Content-Disposition : form-data; name="model"', 'Content-Disposition: form-data; name="a"', "MIME-Version: 1.0", "Content-Type:",
    "Content-Type: \u00e9", "X: " + "a" * 300, 'Content-Type: text/plain; name="model"', "Content-Type: text/html", "Transfer-Encoding: chunked",
    "X: ;filename=x", 'X: ;filename="', 'X: ;x="', "X: ;name=a", "X: ;name=model", 'X: "', "X: ;filename*0=x", "--: x", "-X: x",
]
CONTENTS = [
    "V", "V", "EVIL", "", "x", "hello\r\nworld", "\r\n", "\n", "\r", "-", "--", "\r\n-", "\r\n--", "&model=EVIL&", "model=EVIL", "RVZJTA==",
    "=45VIL", "{\"model\":\"EVIL\"}", "\x00", "\ufeff", " V", "V ", "\u00e9", "a" * 100, "utf-7",
]
LINE_ENDS = ["\r\n"] * 12 + ["\n", "\r", "\r\r\n", "\n\r", "\r\n\r\n", " \r\n", "\t\r\n", "\x0b", "\x85", ""]
PIECES = [
    "\r\n", "\n", "\r", "--", "-", " ", "\t", '"', "'", "\\", ";", "=", ":", ",", "*", "%", "\x00", "\x0b", "\x0c", "\ufeff", "\u2028", "\x85", "(", ")", "/",
    "name", 'name="model"', '; name="model"', "; filename=\"x\"", "; filename*=utf-8''x", "model", "form-data", "Content-Disposition", "\r\n\r\n", "\r\n ",
]
TARGETS = ["/v1/audio/transcriptions", "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/chat/completions"]


class FormBodies:
    """Forms, of which most are well-formed but for one thing."""

    def __init__(self, random):
        self.random = random

    def request(self):
        random = self.random
        odd = random.choice((0, 0, 0.03, 0.03, 0.1))
        boundary = random.choice(BOUNDARIES) if random.random() < 0.3 else "XyZ"
        body = self.form(boundary, odd)
        for _ in range(random.choice((0, 0, 0, 0, 1, 1, 2))):
            body = self.mutated(body, boundary)
        return Request("POST", random.choice(TARGETS), self.content_type(boundary), body)

    def content_type(self, boundary):
        random = self.random
        media = random.choice(MEDIA_TYPES) if random.random() < 0.15 else b"multipart/form-data"
        name = b"boundary" if random.random() < 0.97 else random.choice((b"Boundary", b"BOUNDARY", b"boundary*", b"boundary*0"))
        value = boundary.encode()
        if random.random() < 0.4:
            value = b'"' + value + b'"'
        content_type = media + b"; " + name + b"=" + value
        if random.random() < 0.1:
            content_type = inserted(random, content_type, random.choice(TYPE_PIECES))
        return content_type

    def form(self, boundary, odd):
        random = self.random
        end = lambda: random.choice(LINE_ENDS) if random.random() < odd else "\r\n"
        parts = [self.part(boundary, odd, end) for _ in range(random.choice((0, 1, 1, 2, 3)))]
        if random.random() < 0.95:
            head = random.choice(("", "", "", "Content-Type: text/plain; charset=utf-8", "Content-Length: 1"))
            model = f'Content-Disposition: form-data; name="model"{end()}{head}{end() if head else ""}{end()}V'
            parts.insert(random.randint(0, len(parts)), model)
        text = random.choice(("preamble\r\n", "\r\n", "\n", "-", "--", "preamble")) if random.random() < odd else ""
        for part in parts:
            text += f"--{self.tail(boundary, odd)}{end()}{part}{end()}"
        text += f"--{boundary}--" if random.random() >= odd else random.choice(("", f"--{boundary}", f"--{boundary}-", boundary))
        text += random.choice(("\r\n", "\r\n", "", "\n", "epilogue", f"\r\n--{boundary}\r\nepilogue")) if random.random() < 0.1 + odd else "\r\n"
        return text.encode("utf-8", "surrogatepass")

    def tail(self, boundary, odd):
        """Returns the boundary, seldom with something after it."""
        random = self.random
        return boundary + random.choice((" ", "\t", "x", "-", ";", "\r")) if random.random() < odd else boundary

    def part(self, boundary, odd, end):
        random = self.random
        if random.random() < 0.5:
            disposition = random.choice(('form-data; name="a"', 'form-data; name="file"; filename="a.mp3"'))
        else:
            disposition = random.choice(DISPOSITIONS)
        heads = [f"Content-Disposition: {disposition}"]
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            heads.insert(random.randint(0, len(heads)), random.choice(HEADS))
        text = "".join(f"{head}{end()}" for head in heads) + end()
        return text + self.content(boundary, end)

    def content(self, boundary, end):
        random = self.random
        if random.random() < 0.5:
            return random.choice(CONTENTS)
        # A delimiter-like line, and after it the part that another reader may see.
        near = random.choice((
            f"--{boundary}x", f"-{boundary}", boundary, f"--{boundary[:-1]}", f"--{boundary.upper()}", f"--{boundary.lower()}",
            f" --{boundary}", f"x--{boundary}", f"--{boundary} x", f"--b", f"--x", f"--{boundary[1:]}", f"---{boundary}", "--",
            f"--{boundary}".replace("\\", ""), f"--{boundary}".strip(), f"--{boundary}".replace("'", ""), f"--{boundary.split(',')[0]}",
            f"--{boundary.split(chr(39) * 2)[-1]}", f"--{boundary.split('=')[-1]}", f"--{boundary.split(';')[0]}", f"--{boundary.split(' ')[0]}",
            f"--'{boundary}'", f"--\"{boundary}\"", f"--{boundary}--x", f"--{boundary[:1]}\r{boundary[1:]}", f"-\n-{boundary}",
        ))
        before = random.choice(("x\r\n", "x\r\n", "x\n", "x\r", "x", "", "\r\n", "\n"))
        line = random.choice(("\r\n", "\r\n", "\r\n", "\n", "\r"))
        header = random.choice(("Content-Disposition", "Content-Disposition", "Con\rtent-Disposition"))
        hidden = f'{line}{header}: form-data; name="model"{line}{line}EVIL'
        after = random.choice(("", line, f"{line}{near}--", f"{line}{near}--{line}", f"{line}{near}{line}"))
        return before + near + hidden + after

    def mutated(self, body, boundary):
        random = self.random
        roll = random.random()
        if roll < 0.5:
            pieces = random.choice((PIECES, PIECES, [f"--{boundary}", f"\r\n--{boundary}\r\n", boundary, f"--{boundary}--"]))
            return inserted(random, body, random.choice(pieces).encode())
        begin = random.randrange(len(body) + 1)
        end = min(len(body), begin + random.choice((1, 1, 1, 2, 4, 8)))
        if roll < 0.75:
            return body[:begin] + body[end:]
        if roll < 0.9:
            return body[:begin] + random.choice(PIECES).encode() + body[end:]
        return body[:begin] + bytes([random.randrange(256)]) + body[begin + 1:]
