"""An echo server as a WSGI application."""

import os


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    with open(os.environ["ECHO_LOG"], "a") as log:
        log.write(environ["HTTP_X_NUMBER"] + "\n")
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
