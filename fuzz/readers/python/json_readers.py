"""JSON readers from PyPI."""

import io
import os
import tempfile

from frameworks import JSON_FRAMEWORKS
from worker import ABSENT, model_of, serve

READERS = {}


def reader(make):
    """Adds a reader of bytes; what it returns is a mapping."""

    def start():
        load = make()
        return lambda _, body: model_of(load(body))

    READERS[make.__name__.rstrip("_")] = start
    return make


def text_reader(make):
    """Adds a reader of text."""

    def start():
        load = make()
        return lambda _, body: model_of(load(body.decode()))

    READERS[make.__name__.rstrip("_")] = start
    return make


def value_reader(make):
    """Adds a reader that finds the value of `model` itself."""

    def start():
        read = make()
        return lambda _, body: read(body)

    READERS[make.__name__.rstrip("_")] = start
    return make


def only(values):
    """Returns the value that a stream has for `model`; several are shown as they are."""
    values = list(values)
    return values[0] if len(values) == 1 else values or ABSENT


@reader
def json_():
    import json

    return json.loads


@text_reader
def json_python():
    import json.decoder
    import json.scanner

    decoder = json.JSONDecoder(strict=False)
    decoder.parse_object = json.decoder.JSONObject
    decoder.parse_array = json.decoder.JSONArray
    decoder.parse_string = json.decoder.py_scanstring
    decoder.scan_once = json.scanner.py_make_scanner(decoder)
    return decoder.decode


@reader
def orjson():
    import orjson

    return orjson.loads


@reader
def ujson():
    import ujson

    return ujson.loads


@reader
def simplejson():
    import simplejson

    return simplejson.loads


@reader
def rapidjson():
    import rapidjson

    return rapidjson.loads


@reader
def rapidjson_lenient():
    import rapidjson

    mode = rapidjson.PM_COMMENTS | rapidjson.PM_TRAILING_COMMAS
    return lambda body: rapidjson.loads(body, parse_mode=mode, allow_nan=True)


@reader
def msgspec():
    import msgspec

    return msgspec.json.Decoder().decode


@value_reader
def msgspec_struct():
    import msgspec

    structure = msgspec.defstruct("Request", [("model", object, ABSENT)])
    decode = msgspec.json.Decoder(structure).decode
    return lambda body: decode(body).model


def ijson_backend(name):
    import ijson

    backend = ijson.get_backend(name)
    return lambda body: only(backend.items(io.BytesIO(body), "model"))


@value_reader
def ijson_python():
    return ijson_backend("python")


@value_reader
def ijson_yajl2_c():
    return ijson_backend("yajl2_c")


@value_reader
def pysimdjson():
    import simdjson

    def read(body):
        document = simdjson.Parser().parse(body)
        try:
            return document["model"]
        except KeyError:
            return ABSENT

    return read


@value_reader
def pysimdjson_pointer():
    import simdjson

    def read(body):
        document = simdjson.Parser().parse(body)
        try:
            return document.at_pointer("/model")
        except KeyError:
            return ABSENT

    return read


@value_reader
def cysimdjson():
    import cysimdjson

    parser = cysimdjson.JSONParser()

    def read(body):
        document = parser.parse(body)
        try:
            return document["model"]
        except KeyError:
            return ABSENT

    return read


@reader
def yapic_json():
    from yapic import json

    return json.loads


@value_reader
def json_stream():
    import json_stream

    def read(body):
        with io.BytesIO(body) as file:
            for key, value in json_stream.load(file).items():
                if key == "model":
                    return value
        return ABSENT

    return read


@reader
def json_stream_python():
    import json_stream
    from json_stream.tokenizer import tokenize

    return lambda body: json_stream.load(
        io.BytesIO(body), persistent=True, tokenizer=tokenize
    )


@value_reader
def bigjson():
    import bigjson

    def read(body):
        document = bigjson.load(io.BytesIO(body))
        try:
            return document["model"]
        except KeyError:
            return ABSENT

    return read


@reader
def jiter():
    import jiter

    return jiter.from_json


@reader
def jiter_partial():
    import jiter

    return lambda body: jiter.from_json(body, partial_mode="on")


@reader
def pydantic_core():
    import pydantic_core

    return pydantic_core.from_json


@value_reader
def pydantic_model():
    import pydantic

    class Request(pydantic.BaseModel):
        model: object = ABSENT

    return lambda body: Request.model_validate_json(body).model


@text_reader
def dirtyjson():
    import dirtyjson

    return dirtyjson.loads


@text_reader
def partial_json_parser():
    import partial_json_parser

    return partial_json_parser.loads


@text_reader
def json5():
    import json5

    return json5.loads


@reader
def pyjson5():
    import pyjson5

    return lambda body: pyjson5.decode_utf8(body)


@text_reader
def pyjson5_text():
    import pyjson5

    return pyjson5.decode


@reader
def demjson3():
    import demjson3

    return demjson3.decode


@reader
def hjson():
    import hjson

    return hjson.loads


@text_reader
def json_repair():
    import json_repair

    return json_repair.loads


@text_reader
def json_repair_always():
    import json_repair

    return lambda text: json_repair.loads(text, skip_json_loads=True)


@text_reader
def commentjson():
    import commentjson

    return commentjson.loads


@text_reader
def jstyleson():
    import jstyleson

    return jstyleson.loads


@text_reader
def jsonc_parser():
    from jsonc_parser.parser import JsoncParser

    return JsoncParser.parse_str


@text_reader
def json_with_comments():
    import jsonc

    return jsonc.loads


@text_reader
def jsoncomment():
    from jsoncomment import JsonComment

    return JsonComment().loads


@reader
def pyyaml():
    import yaml

    return yaml.safe_load


@reader
def pyyaml_c():
    import yaml

    return lambda body: yaml.load(body, Loader=yaml.CSafeLoader)


@reader
def ruamel_yaml():
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load


@text_reader
def ryaml():
    import ryaml

    return ryaml.loads


@text_reader
def yaml_rs():
    import yaml_rs

    return yaml_rs.loads


@reader
def ssrjson():
    import ssrjson

    return ssrjson.loads


@reader
def jsonyx():
    import jsonyx

    return jsonyx.loads


@reader
def jsonyx_lenient():
    import jsonyx
    from jsonyx.allow import EVERYTHING

    return lambda body: jsonyx.loads(body, allow=EVERYTHING)


@reader
def yyjson():
    import yyjson

    return lambda body: yyjson.Document(body).as_obj


@reader
def yyjson_lenient():
    import yyjson

    flags = (
        yyjson.ReaderFlags.ALLOW_COMMENTS
        | yyjson.ReaderFlags.ALLOW_INF_AND_NAN
        | yyjson.ReaderFlags.ALLOW_TRAILING_COMMAS
    )
    return lambda body: yyjson.Document(body, flags=flags).as_obj


@text_reader
def chompjs():
    import chompjs

    return chompjs.parse_js_object


@value_reader
def quickjs():
    import quickjs

    context = quickjs.Context()
    read = context.eval("text => JSON.stringify(JSON.parse(text).model)")
    return lambda body: from_javascript(read(body.decode()))


@value_reader
def quickjs_eval():
    import quickjs

    context = quickjs.Context()
    read = context.eval("text => JSON.stringify((0, eval)('(' + text + ')').model)")
    return lambda body: from_javascript(read(body.decode()))


@value_reader
def dukpy():
    import dukpy

    interpreter = dukpy.JSInterpreter()
    script = "JSON.stringify(JSON.parse(dukpy.text).model) || ''"
    return lambda body: from_javascript(interpreter.evaljs(script, text=body.decode()))


def from_javascript(value):
    import json

    return json.loads(value) if value else ABSENT


@value_reader
def jq():
    import jq

    program = jq.compile(".model")
    return lambda body: program.input_text(body.decode()).first()


@text_reader
def json_tricks():
    import json_tricks

    return json_tricks.loads


@text_reader
def json_tricks_comments():
    import json_tricks

    return lambda text: json_tricks.loads(text, ignore_comments=True)


@reader
def srsly():
    import srsly

    return srsly.json_loads


@text_reader
def jsonpickle():
    import jsonpickle

    return jsonpickle.decode


@text_reader
def naya():
    import naya

    return naya.parse_string


@text_reader
def jsonfinder():
    from jsonfinder import only_json

    return lambda text: only_json(text)[2]


@text_reader
def json_cfg():
    import jsoncfg

    return jsoncfg.loads


@text_reader
def json_minify():
    import json
    from json_minify import json_minify

    return lambda text: json.loads(json_minify(text))


@value_reader
def rjsonnet():
    import json
    import rjsonnet

    def read(body):
        return model_of(json.loads(rjsonnet.evaluate_snippet("body", body.decode())))

    return read


if __name__ == "__main__":
    os.chdir(tempfile.gettempdir())
    serve({**READERS, **JSON_FRAMEWORKS})
