"""Lambda's Runtime API, as the official client speaks it: one event after the other over one connection that is kept.

The environment says where: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.client
import os
import sys
import traceback

import orjson

VERSION = "2018-06-01"


def serve(handler):
    """Asks for events for ever and answers each with what `handler(event)` returns, or with its failure."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", f"/{VERSION}/runtime/invocation/next")
        response = connection.getresponse()
        event = response.read()
        request = response.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            path, answer = "response", orjson.dumps(handler(orjson.loads(event)))
        except Exception as failure:  # noqa: BLE001: whatever it is, the mapping has to deliver the batch again
            traceback.print_exc(file=sys.stderr)
            path, answer = "error", orjson.dumps({"errorType": type(failure).__name__, "errorMessage": str(failure)})
        connection.request("POST", f"/{VERSION}/runtime/invocation/{request}/{path}", body=answer)
        connection.getresponse().read()
