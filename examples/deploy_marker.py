"""Mark a deploy on every chart, from a deploy script: `python examples/deploy_marker.py "deployed 1.4"`.

Needs the bot's web server (PERFORMANCE_HTTP_PORT) and the token in PERFORMANCE_HTTP_TOKEN.
"""

import json
import os
import sys
import urllib.request


def mark(name: str, url: str, token: str) -> dict:
    request = urllib.request.Request(
        f"{url}/api/performance/markers",
        data=json.dumps({"name": name}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


if __name__ == "__main__":
    address = os.environ.get("COGMETER_URL", "http://127.0.0.1:3000")
    print(mark(sys.argv[1], address, os.environ["PERFORMANCE_HTTP_TOKEN"]))
