#!/usr/bin/env python3
"""How long POST /v1/decisions takes at a kept rate: latency.py ENDPOINTS_JSON [RATE] [SECONDS]

Needs Python 3.10 and nothing else. Connections are kept, as a gateway of one's own would keep them."""

import http.client
import json
import queue
import sys
import threading
import time
import urllib.parse
import urllib.request

endpoints = json.load(open(sys.argv[1], encoding="utf-8"))
rate = float(sys.argv[2]) if len(sys.argv) > 2 else 200.0
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 20.0

form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": "latency", "scope": "decide read:score"})
with urllib.request.urlopen(endpoints["issuer"] + "/oauth2/token", form.encode()) as answer:
    token = json.load(answer)["access_token"]

host = endpoints["api"].removeprefix("http://")
headers = {"authorization": "Bearer " + token, "content-type": "application/json"}
due: queue.Queue = queue.Queue()
took, statuses, lock = [], {}, threading.Lock()


def work() -> None:
    connection = http.client.HTTPConnection(host, timeout=30)
    while (job := due.get()) is not None:
        at, body = job
        try:
            connection.request("POST", "/v1/decisions", body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
            connection.close()
        # From when it was due: a caller who had to wait for a free connection waited, too.
        ms = (time.monotonic() - at) * 1000
        with lock:
            statuses[status] = statuses.get(status, 0) + 1
            if status == 200:
                took.append(ms)


threads = [threading.Thread(target=work) for _ in range(64)]
for thread in threads:
    thread.start()
begin, run = time.monotonic(), int(time.time())
for index in range(int(rate * seconds)):
    at = begin + index / rate
    time.sleep(max(0.0, at - time.monotonic()))
    transaction = {
        "transaction_id": f"latency-{run}-{index}", "timestamp": int(time.time() * 1000), "user_id": f"latency-{index % 2000}",
        "amount": 12.5, "currency": "EUR", "device_type": "mobile", "device_id": f"latency-{index % 2000}", "ip": "198.51.100.7",
        "user_agent": "latency/1",
    }
    due.put((at, json.dumps(transaction)))
for _ in threads:
    due.put(None)
for thread in threads:
    thread.join()
took.sort()
share = lambda of: round(took[min(len(took) - 1, int(len(took) * of))], 1) if took else None
print(json.dumps({"sent": int(rate * seconds), "statuses": statuses, "ms": {"p50": share(0.5), "p99": share(0.99), "p99.9": share(0.999), "max": share(1)}}))
