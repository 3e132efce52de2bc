"""The Grafana boards, as code: prints nothing, writes centinela.json and cloudwatch.json beside itself. `python3 docs/grafana/boards.py`.

A board is a list of rows of panels. Names of metrics are those of `/metrics` (docs/operations.md) and of the stacks; tests/tests/boards.rs
fails when a board names one that nobody sends, or when this script would write something else than what is there.
"""

import json
import pathlib

SCORE = "score-transactions"
RATE = "$__rate_interval"


def target(expression, legend, letter):
    return {"refId": letter, "expr": expression, "legendFormat": legend, "editorMode": "code", "range": True}


def prometheus(title, unit, *lines, kind="timeseries", steps=None, width=8, height=8, stacked=False):
    """A panel of PromQL expressions, each with its legend."""
    targets = [target(expression, legend, chr(ord("A") + place)) for place, (expression, legend) in enumerate(lines)]
    return panel(title, unit, targets, {"type": "prometheus", "uid": "${source}"}, kind, steps, width, height, stacked)


def cloudwatch(title, unit, *lines, width=8, height=8, steps=None):
    """A panel of CloudWatch metrics: namespace, metric, dimensions, statistic, label."""
    targets = [
        {
            "refId": chr(ord("A") + place),
            "queryMode": "Metrics",
            "metricQueryType": 0,
            "metricEditorMode": 0,
            "namespace": namespace,
            "metricName": metric,
            "dimensions": {name: [value] for name, value in dimensions.items()},
            "statistic": statistic,
            "period": "60",
            "region": "default",
            "matchExact": True,
            "label": label,
            "id": "",
            "expression": "",
        }
        for place, (namespace, metric, dimensions, statistic, label) in enumerate(lines)
    ]
    return panel(title, unit, targets, {"type": "cloudwatch", "uid": "${source}"}, "timeseries", steps, width, height, False)


def panel(title, unit, targets, source, kind, steps, width, height, stacked):
    steps = [{"color": "green", "value": None}] + [{"color": colour, "value": value} for value, colour in steps or []]
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    custom["stacking"] = {"mode": "normal" if stacked else "none", "group": "A"}
    custom["thresholdsStyle"] = {"mode": "line" if len(steps) > 1 else "off"}
    defaults = {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options = {}
    if kind == "timeseries":
        defaults["custom"] = custom
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "stat":
        defaults["color"] = {"mode": "thresholds"}
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "graphMode": "none",
            "textMode": "value_and_name",
        }
    return {
        "title": title,
        "type": kind,
        "datasource": source,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "gridPos": {"w": width, "h": height},
    }


def board(uid, title, source, description, rows):
    panels, y = [], 0
    for row in rows:
        x = 0
        for one in row:
            one["id"] = len(panels) + 1
            one["gridPos"] |= {"x": x, "y": y}
            x += one["gridPos"]["w"]
            panels.append(one)
        y += max(one["gridPos"]["h"] for one in row)
    variable = {
        "name": "source",
        "label": "Data source",
        "type": "datasource",
        "query": source,
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "regex": "",
        "current": {},
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["centinela"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [variable]},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def rate(metric, selector=""):
    return f"sum(rate({metric}{selector}[{RATE}]))"


def quantile(share, metric, function=SCORE):
    return f'histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{function="{function}"}}[{RATE}])))'


def laptop():
    score = f'{{function="{SCORE}"}}'
    share = f'100 * {rate("centinela_blocked_total", score)} / clamp_min({rate("centinela_decided_total", score)}, 0.001)'
    return [
        [
            prometheus("Alarms that speak", "none", ('sum(centinela_alarm{centinela_alarm="ALARM"})', "alarms"), kind="stat", steps=[(1, "red")], width=4, height=4),
            prometheus("Records that wait", "none", (f'sum(centinela_mapping_lag_records{{function="{SCORE}"}})', "lag"), kind="stat", steps=[(10_000, "red")], width=4, height=4),
            prometheus("Decisions a second", "none", (rate("centinela_decided_total", score), "decided"), kind="stat", width=4, height=4),
            prometheus("p99", "s", (quantile(0.99, "centinela_processing_seconds"), "p99"), kind="stat", steps=[(0.5, "red")], width=4, height=4),
            prometheus("Blocked", "percent", (share, "of 100"), kind="stat", steps=[(10, "red")], width=4, height=4),
            prometheus("A million decisions", "currencyUSD", ('centinela_alarm_value{alarm=~".*centinela-cost-per-million"}', "cost"), kind="stat", width=4, height=4),
        ],
        [
            prometheus("Decisions a second", "none", (rate("centinela_approved_total", score), "approved"), (rate("centinela_blocked_total", score), "blocked"), (rate("centinela_review_total", score), "review"), stacked=True),
            prometheus("Seconds from the broker's time to the decision", "s", (quantile(0.5, "centinela_processing_seconds"), "p50"), (quantile(0.99, "centinela_processing_seconds"), "p99"), steps=[(0.5, "red")]),
            prometheus("Blocked, of 100", "percent", (share, "blocked"), steps=[(10, "red")]),
        ],
        [
            prometheus("Records that wait", "none", ("sum by (source, function) (centinela_mapping_lag_records)", "{{source}} for {{function}}"), steps=[(10_000, "red")]),
            prometheus("What is no decision, a second", "none", (rate("centinela_parked_total", score), "dead-lettered"), (rate("centinela_unsettled_total", score), "delivered again"), (rate("centinela_replayed_total", score), "replayed"), (rate("centinela_duplicates_total", score), "duplicates"), (rate("centinela_conflicts_total", score), "lost races")),
            prometheus("Alarms that speak", "none", ('max by (alarm) (centinela_alarm{centinela_alarm="ALARM"}) > 0', "{{alarm}}")),
        ],
        [
            prometheus("Invocations a second", "none", (f"sum by (function) (rate(centinela_lambda_invocations_total[{RATE}]))", "{{function}}")),
            prometheus("Errors and refusals a second", "none", (f"sum by (function) (rate(centinela_lambda_errors_total[{RATE}]))", "{{function}} fails"), (f"sum by (function) (rate(centinela_lambda_throttles_total[{RATE}]))", "{{function}} is refused")),
            prometheus("Units of the tables a second", "none", (f"sum by (table, kind) (rate(centinela_dynamodb_units_total[{RATE}]))", "{{table}} {{kind}}")),
        ],
    ]


def aws():
    ours = {"Function": SCORE}
    function = {"FunctionName": SCORE}
    group = {"Cluster Name": "centinela", "Consumer Group": SCORE, "Topic": "transactions"}
    users = {"TableName": "user_state"}
    stream = {"StreamName": "decisions"}
    return [
        [
            cloudwatch("Decisions a minute", "none", ("Centinela", "Approved", ours, "Sum", "approved"), ("Centinela", "Blocked", ours, "Sum", "blocked"), ("Centinela", "Review", ours, "Sum", "review")),
            cloudwatch("Milliseconds to the decision", "ms", ("Centinela", "ProcessingMilliseconds", ours, "Average", "average"), ("Centinela", "ProcessingMilliseconds", ours, "p99", "p99"), ("Centinela", "OldestRecordMilliseconds", ours, "Maximum", "oldest record"), steps=[(500, "red")]),
            cloudwatch("Records that wait", "none", ("AWS/Kafka", "SumOffsetLag", group, "Maximum", "lag"), steps=[(10_000, "red")]),
        ],
        [
            cloudwatch("What is no decision, a minute", "none", ("Centinela", "Parked", ours, "Sum", "dead-lettered"), ("Centinela", "Unsettled", ours, "Sum", "delivered again"), ("Centinela", "Duplicates", ours, "Sum", "duplicates"), ("Centinela", "Conflicts", ours, "Sum", "lost races")),
            cloudwatch("Errors and refusals a minute", "none", ("AWS/Lambda", "Errors", function, "Sum", "fails"), ("AWS/Lambda", "Throttles", function, "Sum", "is refused")),
            cloudwatch("Concurrent executions", "none", ("AWS/Lambda", "ConcurrentExecutions", function, "Maximum", SCORE)),
        ],
        [
            cloudwatch("Units of the users' table a minute", "none", ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", users, "Sum", "writes"), ("AWS/DynamoDB", "ConsumedReadCapacityUnits", users, "Sum", "reads")),
            cloudwatch("The users' table refuses", "none", ("AWS/DynamoDB", "WriteThrottleEvents", users, "Sum", "writes"), ("AWS/DynamoDB", "ReadThrottleEvents", users, "Sum", "reads")),
            cloudwatch("Records of the stream a minute", "none", ("AWS/Kinesis", "IncomingRecords", stream, "Sum", "records"), ("AWS/Kinesis", "WriteProvisionedThroughputExceeded", stream, "Sum", "refused")),
        ],
    ]


BOARDS = {
    "centinela.json": board("centinela", "Centinela", "prometheus", "A running system, by what /metrics serves.", laptop()),
    "cloudwatch.json": board("centinela-aws", "Centinela in AWS", "cloudwatch", "The same in AWS, for names without a prefix.", aws()),
}


def main():
    here = pathlib.Path(__file__).parent
    for name, content in BOARDS.items():
        (here / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
