"""An echo server as an ASGI application."""

import os


async def app(scope, receive, send):
    # Without lifespan events, which servers do not require.
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    with open(os.environ["ECHO_LOG"], "a") as log:
        log.write(dict(scope["headers"])[b"x-number"].decode() + "\n")
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
