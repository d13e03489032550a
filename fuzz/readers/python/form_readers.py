"""Form readers from PyPI."""

import io
import warnings

from frameworks import FORM_FRAMEWORKS, environ
from worker import ABSENT, serve

READERS = {}


def reader(make):
    READERS[make.__name__] = make
    return make


@reader
def multipart():
    from multipart import parse_form_data

    return lambda content_type, body: parse_form_data(
        environ(content_type, body), strict=False
    )[0].get("model")


@reader
def multipart_strict():
    from multipart import parse_form_data

    return lambda content_type, body: parse_form_data(
        environ(content_type, body), strict=True
    )[0].get("model")


@reader
def python_multipart():
    from python_multipart import create_form_parser

    def read(content_type, body):
        values = []

        def on_field(field):
            if field.field_name == b"model":
                values.append(field.value)

        headers = {"Content-Type": content_type.encode("latin-1")}
        parser = create_form_parser(headers, on_field, lambda file: None)
        parser.write(body)
        parser.finalize()
        return values[0] if len(values) == 1 else values or ABSENT

    return read


@reader
def cgi():
    warnings.simplefilter("ignore")
    import cgi

    def read(content_type, body):
        head = environ(content_type, body)
        form = cgi.FieldStorage(fp=head["wsgi.input"], environ=head, keep_blank_values=True)
        return form.getfirst("model")

    return read


@reader
def email():
    from email import message_from_bytes

    def read(content_type, body):
        head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
        values = []
        message = message_from_bytes(head + body)
        for part in message.get_payload() if message.is_multipart() else ():
            disposition = "content-disposition"
            if part.get_param("name", header=disposition) != "model":
                continue
            if part.get_param("filename", header=disposition) is None:
                values.append(part.get_payload(decode=True))
        return values[0] if len(values) == 1 else values or ABSENT

    return read


@reader
def email_policy():
    from email import message_from_bytes
    from email.policy import HTTP

    def read(content_type, body):
        head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
        values = []
        for part in message_from_bytes(head + body, policy=HTTP).iter_parts():
            if part["content-disposition"].params.get("name") == "model":
                values.append(part.get_content())
        return values[0] if len(values) == 1 else values or ABSENT

    return read


@reader
def requests_toolbelt():
    from email.message import Message
    from requests_toolbelt import MultipartDecoder

    def read(content_type, body):
        values = []
        for part in MultipartDecoder(body, content_type).parts:
            head = Message()
            head["Content-Disposition"] = part.headers[b"Content-Disposition"].decode()
            if head.get_param("name", header="Content-Disposition") == "model":
                values.append(part.content)
        return values[0] if len(values) == 1 else values or ABSENT

    return read


@reader
def streaming_form_data():
    from streaming_form_data import StreamingFormDataParser
    from streaming_form_data.targets import ValueTarget

    def read(content_type, body):
        parser = StreamingFormDataParser(headers={"Content-Type": content_type})
        target = ValueTarget()
        parser.register("model", target)
        parser.data_received(body)
        return target.value or ABSENT

    return read


@reader
def web_py():
    import web

    def read(content_type, body):
        web.ctx.clear()
        web.ctx.env = environ(content_type, body)
        web.ctx.headers = []
        return web.input(_method="post").get("model")

    return read


if __name__ == "__main__":
    serve({**READERS, **FORM_FRAMEWORKS})
