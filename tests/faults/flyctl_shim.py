"""`flyctl` as far as let-go.sh uses it, over HTTP to a sandbox (FLY_API_BASE_URL, FLY_API_TOKEN).

The real one cannot be had here. What it prints is taken from its source: the machine list is the
API's own list, a lease is the API's own answer, and `leases clear` shows the nonce it read.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

BASE, TOKEN = os.environ["FLY_API_BASE_URL"], os.environ["FLY_API_TOKEN"]


def call(method: str, path: str, nonce: str = "") -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if nonce:
        headers["fly-machine-lease-nonce"] = nonce
    request = urllib.request.Request(f"{BASE}/v1/apps/{path}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def tell(answer: Any) -> None:
    json.dump(answer, sys.stdout)


def main(words: list[str]) -> int:
    app = words[words.index("--app") + 1]
    bare = [w for w in words if not w.startswith("--") and w != app]
    match bare:
        case ["machine", "list"]:
            tell(call("GET", f"{app}/machines"))
        case ["machine", "leases", "view", machine]:
            tell(call("GET", f"{app}/machines/{machine}/lease"))
        case ["machine", "leases", "clear", machine]:
            held = call("GET", f"{app}/machines/{machine}/lease")
            call("DELETE", f"{app}/machines/{machine}/lease", held["data"]["nonce"])
        case ["machine", "uncordon", machine]:
            call("POST", f"{app}/machines/{machine}/uncordon")
        case ["machine", "start", machine]:
            call("POST", f"{app}/machines/{machine}/start")
        case _:
            sys.stderr.write(f"unknown command: {' '.join(words)}\n")
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode())
