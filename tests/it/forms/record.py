"""Runs a client against a loopback server and writes the form that it posts to NAME.form.

usage: record.py NAME COMMAND... (which gets the server's base URL as its last argument)
"""

import http.server
import pathlib
import subprocess
import sys
import threading


class Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    forms = []

    def do_POST(self):
        if self.headers.get("expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.forms.append((self.headers["content-type"], body))
        response = b'{"text":""}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_):
        pass


name, *command = sys.argv[1:]
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
subprocess.run([*command, url], check=True, timeout=60)
[(content_type, body)] = Recorder.forms
pathlib.Path(f"{name}.form").write_bytes(content_type.encode() + b"\n" + body)
