"""usage: python.py CLIENT URL"""

import asyncio
import json
import pathlib
import sys

NAMES = json.loads((pathlib.Path(__file__).parent / "names.json").read_text())
client, url = sys.argv[1:]
url += "/audio/transcriptions"
content = b"ID3\r\n--\r\n\xff"
files = [(f"file{i}", (name, content, "audio/mpeg")) for i, name in enumerate(NAMES)]
fields = {"language": "größe", "model": "whisper-1"}

if client == "requests":
    import requests

    requests.post(url, data=fields, files=files).raise_for_status()
elif client == "httpx":
    import httpx

    httpx.post(url, data=fields, files=files).raise_for_status()
elif client == "urllib3":
    import urllib3

    urllib3.request("POST", url, fields=[*files, *fields.items()])
elif client == "aiohttp":
    import aiohttp

    async def main():
        form = aiohttp.FormData()
        for name, value in fields.items():
            form.add_field(name, value)
        for name, (file, content, kind) in files:
            # aiohttp refuses line ends in file names.
            form.add_field(name, content, filename=file.replace("\r\n", " "), content_type=kind)
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
            response.raise_for_status()

    asyncio.run(main())
elif client == "openai":
    import openai

    api = openai.OpenAI(api_key="none", base_url=url.removesuffix("/audio/transcriptions"))
    api.audio.transcriptions.create(
        model="whisper-1",
        file=files[0][1],
        timestamp_granularities=["word", "segment"],
        response_format="verbose_json",
    )
