"""Generates JSON bodies and their content types."""

from request import Request

MODEL_KEYS = [
    "Model", "MODEL", "mode", "models", "modeL", "model ", " model", "\tmodel", "model\\u0000",
    "\\u0000model", "mod\\u0065l", "\\u006dodel", "mod\\u0065", "m\\u006f", "\\u006D\\u006F",
    "_model", "model_", "mo_del", "mo-del", "-model", "mo del", "mo.del", ".model", "model.",
    "$.model", "/model", "#/model", "model[]", "model[0]", "model/", "model~1", "*", "mod*", "$model",
    "@model", "#model", ":model", "model:", "'model'", "\\\"model\\\"", "\\\\model", "mo\\/del",
    "\ufeffmodel", "model\ufeff", "\u200bmodel", "mo\u00addel", "model\u200d", "\u2060model",
    "\u00a0model", "\u3000model", "\u2028model", "model\u2029", "\u0085model", "\ufff9model",
    "\U000e0001model", "\u180emodel", "\ufe0fmodel", "\uff4dodel", "\u217fodel", "\u1d5bmodel",
    "mode\u217c", "m\u00ba\u0064el", "mo\u0301del", "m\u043edel", "mod\u0435l", "mode\u0130",
    "\\ud800model", "model\\udc00", "\\ud83d\\ude00model", "model\x7f", "model\u0080", "model\uffff",
    "-655e|!)j$(|z&/0", "65_5_lf($>7%7?$x", "lmode", "ledom", "modle",
    "<<", "=", "__proto__", "constructor", "prototype", "$id", "$ref", "$type", "$values", "@type",
    "@id", "@class", "__class__", "py/object", "_type", "__type", "json_class", "^o", "^r", "class",
    "? model", "- model", "&model", "!!str model", "!model", "? ", "-", "---", "...", "model #",
    "", "null", "true", "0", "1", "toString", "hasOwnProperty", "valueOf", "length", "get", "model()",
]
PLAIN_KEYS = [
    "messages", "stream", "temperature", "a", "b", "user", "tools", "name", "id", "type", "data",
    "\u00e9", "\u65e5\u672c", "\U0001f600", "a b", "a.b", "x-y", "_x", "metadata",
]
STRINGS = [
    "", "EVIL", "V", "hello", "model", "\\u0000", "\\ud800", "\\udfff\\ud800", "\\ud83d\\ude00",
    "\\\"", "\\\\", "\\/", "\\b\\f\\n\\r\\t", "\\u003cb\\u003e\\u0026", "\\\\\\\"", "\u00e9", "\u65e5",
    "\U0001f600", "\x7f", "\u0080", "\u0085", "\u2028\u2029", "\ufeff", "\uffff", "\ufffe",
    "\U0010ffff", "\u200b", "// x", "/* x", "*/", "# x", "'", "''", "`", "${x}", "{{x}}", "<!--",
    "\\\",\\\"model\\\":\\\"EVIL", "','model':'EVIL", "{\\\"model\\\":\\\"EVIL\\\"}", "model: EVIL",
    "\\nmodel: EVIL\\n", "\\u0022,\\u0022model\\u0022:\\u0022EVIL", "+ACIALAAi-model+ACIAOgAi-EVIL+ACI-",
    "\\u00e3\\u0022", "\\u0027", "\\u005c\\u0022", "\\u005c", "\\u002f\\u002a", "]", "}", "{", "[", ":",
    ",", "&a", "*a", "!!x", "%x", "@x", "|", ">", "- x", "? x", ": x", "x #", "null", "NaN", "1e5",
    "2001-01-01", "0x10", "yes", "~", "data:image/png;base64,AAAA", "a" * 70, "\\u0000" * 20,
    "\\ud800\\u0022", "\\udc00\\\"", "http://x/?model=EVIL&y", "\\u0085model: EVIL", "=1", "^x",
]
SCALARS = [
    "0", "-0", "1", "-1", "1.5", "1e400", "-1e400", "1e-400", "1E+2", "1e05", "0.0", "-0.0e-0",
    "123456789012345678901234567890", "9007199254740993", "18446744073709551616",
    "-9223372036854775809", "1." + "0" * 40 + "1", "1" + "0" * 400, "1e99999", "true", "false",
    "null", "[]", "{}", '""', "[[]]", "[{}]", '{"":{}}',
]
SPACES = ["", "", "", "", "", " ", " ", "\n", "\r\n", "\t", "  ", " \r", "\n\n  ", "\r"]
# What only lenient readers take, and pieces of it.
LENIENT = [
    "'", '"', "`", "//", "/*", "*/", "#", "\n", "\r", "\t", "\x0b", "\x0c", "\x00", "\x01", "\x1f", "\x7f",
    "\u00a0", "\u0085", "\u2028", "\ufeff", "\u3000", ",", ",,", ";", ":", "=", "=>", "{", "}", "[", "]", "(",
    ")", "<", ">", "+", "-", ".", "NaN", "Infinity", "-Infinity", "undefined", "None", "True", "nul",
    "0x10", "01", ".5", "5.", "+1", "1_0", "1n", "1e", "--1", "\\", "\\x6d", "\\'", "\\u{6d}", "\\U0000006d",
    "\\a", "\\\n", "\\u00", "\\u000g", '"""', "'''", '""', "model", '"model"', "'model'", '"EVIL"', "'EVIL'",
    ',"model":"EVIL"', '"model":"EVIL",', "model:EVIL", "\nmodel: EVIL\n", '{"model":"EVIL"}',
    '//"\n', "/*\"*/", '/*"', '"*/', "#\"\n", '","model":"EVIL","b":"', "+ACI-", "+AC", "&a ", "*a", "<<:",
    "!!str ", "? ", "- ", "---\n", "\n...\n", "|\n", ">\n", "!", "%", "@", "~", "new Date(0)", "/x/", "\x1e",
    "\ufffd", "1 []", "1 {}", "1:{}", "[1 []", '"a" "b"', '"a"+"b"', "...", "\u201c", "\u201d", "\u2018",
]
RAW = [
    b"\xe3", b"\xe3\x80", b"\xff", b"\xc0\xa2", b"\xc0\x80", b"\xe0\x80\xa2", b"\xed\xa0\x80", b"\xf0\x80\x80\xa2",
    b"\xf5", b"\x80", b"\xbf", b"\xc2", b"\xf0\x9f", b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe", b"\xf4\x90\x80\x80",
    b"\x81", b"\x8e", b"\x1b$B", b"\x1b(J",
]
CONTENT_TYPES = [
    b"application/json", b"application/json", b"application/json", b"application/json",
    b"application/json; charset=utf-8", b"application/json;charset=UTF-8", b'application/json; charset="utf-8"',
    b"Application/JSON", b"application/vnd.api+json", b"application/problem+json; charset=us-ascii", b"",
]
TYPE_PIECES = [
    b";", b" ", b"\t", b",", b'"', b"'", b"=", b"*", b"charset", b"charset=utf-7", b"; charset=utf-8", b"; charset=utf-16",
    b"; charset*=utf-7", b"; charset*0=utf-7", b"; charset*=utf-8''utf-7", b"; charset=\"utf\\-7\"", b"; CHARSET=utf-7",
    b"; charset='utf-7'", b"; x=y", b"; charset=latin1", b", application/json", b"; charset =utf-7", b"; charset= utf-7",
    b";;charset=utf-7", b"; charset=utf-8; charset=utf-7", b"; q=\"; charset=utf-7\"", b"; charset=cp037", b"+json", b"\xff",
    b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded", b"text/plain", b"(x)", b"; charset=utf8",
]
TARGETS = [
    "/v1/chat/completions", "/v1/chat/completions", "/v1/chat/completions", "/v1/completions", "/v1/responses",
    "/v1/embeddings", "/v1/messages", "/api/chat",
]


class JsonBodies:
    """Valid objects with tricky keys and values; most also mutated, most of these by little."""

    def __init__(self, random):
        self.random = random

    def request(self):
        random = self.random
        mutations = random.choice((0, 0, 0, 1, 1, 2, 4))
        body = self.document().encode("utf-8", "surrogatepass")
        for _ in range(mutations):
            body = self.mutated(body)
        content_type = random.choice(CONTENT_TYPES)
        if random.random() < 0.1:
            content_type = inserted(random, content_type, random.choice(TYPE_PIECES))
        return Request("POST", random.choice(TARGETS), content_type, body)

    def document(self):
        random = self.random
        members = [self.member(0) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 5)))]
        if random.random() < 0.9:
            space = random.choice(SPACES)
            model = f'"model"{space}:{random.choice(SPACES)}"V"'
            members.insert(random.randint(0, len(members)), model)
        return f"{random.choice(SPACES)}{self.braces('{', members, '}')}{random.choice(SPACES)}"

    def braces(self, opening, items, closing):
        choose = self.random.choice
        text = ",".join(f"{choose(SPACES)}{item}{choose(SPACES)}" for item in items)
        return f"{opening}{text or choose(SPACES)}{closing}"

    def member(self, depth):
        random = self.random
        roll = random.random()
        # A top-level key near `model` is mostly refused, a nested one never.
        if roll < (0.1 if depth == 0 else 0.5):
            key = "model" if depth and random.random() < 0.5 else random.choice(MODEL_KEYS)
        elif roll < 0.15:
            key = self.near_model()
        elif roll < 0.3:
            key = random.choice(STRINGS)
        else:
            key = random.choice(PLAIN_KEYS)
        evil = depth > 0 or random.random() < 0.3
        value = '"EVIL"' if evil and random.random() < 0.5 else self.value(depth)
        return f'"{key}"{random.choice(SPACES)}:{random.choice(SPACES)}{value}'

    def near_model(self):
        """Returns `model` with a character changed, more, or less."""
        random = self.random
        at = random.randrange(6)
        other = random.choice((chr(random.randrange(0x20, 0x7F)), chr(random.randrange(0xA0, 0xD800)),
                               f"\\u{random.randrange(0x10000):04x}"))
        other = other.replace('"', "'") if len(other) == 1 else other
        other = "/" if other == "\\" else other
        return "model"[:at] + other + "model"[at + random.randrange(2):]

    def value(self, depth):
        random = self.random
        roll = random.random()
        if roll < 0.35 or depth > 4:
            return f'"{"".join(random.choices(STRINGS, k=random.choice((1, 1, 2, 3))))}"'
        if roll < 0.55:
            return random.choice(SCALARS)
        if roll < 0.6:
            return self.deep()
        count = random.choice((0, 1, 1, 2, 3))
        if roll < 0.75:
            return self.braces("[", [self.value(depth + 1) for _ in range(count)], "]")
        return self.braces("{", [self.member(depth + 1) for _ in range(count)], "}")

    def deep(self):
        random = self.random
        depth = random.choice((3, 10, 30, 60, 100, 130))
        if random.random() < 0.5:
            return "[" * depth + '{"model":"EVIL"}' + "]" * depth
        return '{"model":' * depth + '"EVIL"' + "}" * depth

    def mutated(self, body):
        random = self.random
        roll = random.random()
        if roll < 0.5:
            return inserted(random, body, random.choice(LENIENT).encode())
        if roll < 0.6:
            return inserted(random, body, random.choice(RAW))
        begin = random.randrange(len(body) + 1)
        end = min(len(body), begin + random.choice((1, 1, 1, 2, 4, 8)))
        if roll < 0.75:
            return body[:begin] + body[end:]
        if roll < 0.85:
            return body[:end] + body[begin:]
        if roll < 0.95:
            return body[:begin] + random.choice(LENIENT).encode() + body[end:]
        return body[:begin] + bytes([random.randrange(256)]) + body[begin + 1:]


def inserted(random, text, piece):
    at = random.randrange(len(text) + 1)
    return text[:at] + piece + text[at:]
