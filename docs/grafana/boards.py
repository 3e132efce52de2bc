"""The Grafana boards, as code: prints nothing, writes centinela.json and cloudwatch.json beside itself. `python3 docs/grafana/boards.py`.

A board is a list of rows of panels. Names of metrics are those of `/metrics` (docs/operations.md) and of the stacks; tests/tests/boards.rs
fails when a board names one that nobody sends, when its limits are not those of the alarms, when Grafana's published schema does not
have it so, or when this script would write something else than what is there.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
PROD = json.loads((HERE / "../../infra/env/prod.json").read_text())["Parameters"]
SCORE = "score-transactions"
RATE = "$__rate_interval"
# What the alarms ask: records, milliseconds, per cent.
LAG, SLOW, BLOCKED = 10_000, 500, 10
# A line has the same colour wherever it is; a line without one gets the next of Grafana's. Red is for what is bad.
COLOURS = {
    "approved": "green",
    "blocked": "red",
    "guarded": "purple",
    "review": "orange",
    "average": "blue",
    "p99": "orange",
    "oldest record": "purple",
    "dead-lettered": "red",
    "delivered again": "orange",
    "lost races": "yellow",
    "duplicates": "blue",
    "replayed": "purple",
    "fails": "red",
    "is refused": "orange",
    "all errors": "red",
    "all refusals": "orange",
    "writes": "orange",
    "reads": "blue",
    "records": "green",
    "refused": "red",
}
# Of legends that Prometheus fills in.
NAMED = {
    "{{function}}": {SCORE: "dark-green", "track-user-actions": "dark-blue"},
    "{{table}}": {"user_state": "dark-green", "settled_offsets": "purple"},
}


def prometheus(title, unit, *lines, **how):
    """A panel of PromQL expressions, each with its legend."""
    targets = [
        {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "editorMode": "code", "range": True}
        for place, (expression, legend) in enumerate(lines)
    ]
    return panel(title, unit, targets, [legend for _, legend in lines], {"type": "prometheus", "uid": "${source}"}, **how)


def stat(title, unit, expression, **how):
    """The newest value of an expression, large; it is red from its limit on."""
    return prometheus(title, unit, (expression, title), kind="stat", width=3, height=4, **how)


def cloudwatch(title, unit, *lines, period=60, formula=None, **how):
    """A panel of CloudWatch metrics: namespace, metric, dimensions, statistic, label. With a formula they are not shown but reckoned
    with, under their labels, and the formula's own label follows it."""
    targets = [
        asked(place, period, namespace=namespace, metricName=metric, dimensions=dimensions, statistic=statistic, label=label)
        | ({"id": label, "hide": True} if formula else {})
        for place, (namespace, metric, dimensions, statistic, label) in enumerate(lines)
    ]
    if formula:
        expression, label = formula
        targets.append(asked(len(targets), period, metricEditorMode=1, expression=expression, id="result", label=label))
    labels = [target["label"] for target in targets if not target.get("hide")]
    return panel(title, unit, targets, labels, {"type": "cloudwatch", "uid": "${source}"}, **how)


def asked(place, period, **what):
    return {
        "refId": chr(ord("A") + place),
        "queryMode": "Metrics",
        "metricQueryType": 0,
        "metricEditorMode": 0,
        "namespace": "",
        "metricName": "",
        "dimensions": {},
        "statistic": "Average",
        "period": str(period),
        "region": "default",
        "matchExact": True,
        "label": "",
        "id": "",
        "expression": "",
    } | what


def panel(title, unit, targets, labels, source, kind="timeseries", limit=None, width=8, height=8, stacked=False, about=None):
    steps = [{"color": "green", "value": None}] + ([] if limit is None else [{"color": "red", "value": limit}])
    defaults = {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    if kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if stacked else 10,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if limit is None else "dashed"},
            # The limit is in sight, so that one sees how far away it is.
            **({} if limit is None else {"axisSoftMax": 1.1 * limit}),
        }
        options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "stat":
        defaults["color"] = {"mode": "thresholds"}
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value" if limit is None else "background",
            "graphMode": "none",
            "textMode": "value",
            "justifyMode": "auto",
            "orientation": "auto",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        }
    if kind == "state-timeline":
        defaults["color"] = {"mode": "thresholds"}
        defaults["custom"] = {"lineWidth": 0, "fillOpacity": 80}
        states = {"0": {"text": "silent", "color": "green", "index": 0}, "1": {"text": "speaks", "color": "red", "index": 1}}
        defaults["mappings"] = [{"type": "value", "options": states}]
        options = {
            "showValue": "auto",
            "rowHeight": 0.8,
            "mergeValues": True,
            "alignValue": "left",
            "legend": legend | {"showLegend": False},
            "tooltip": {"mode": "single", "sort": "none"},
        }
    colours = {}
    for label in labels:
        colours |= NAMED.get(label, {label: COLOURS[label]} if label in COLOURS else {})
    coloured = [
        {
            "matcher": {"id": "byName", "options": label},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for label, colour in colours.items()
    ]
    return {
        "title": title,
        **({"description": about} if about else {}),
        "type": kind,
        "datasource": source,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": coloured},
        "options": options,
        "gridPos": {"w": width, "h": height},
    }


def board(uid, title, source, description, rows, *variables):
    panels, y = [], 0
    for row in rows:
        x = 0
        for one in row:
            one["id"] = len(panels) + 1
            one["gridPos"] |= {"x": x, "y": y}
            x += one["gridPos"]["w"]
            panels.append(one)
        y += max(one["gridPos"]["h"] for one in row)
    chosen = {"name": "source", "label": "Data source", "type": "datasource", "query": source, "refresh": 1}
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["centinela"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s" if source == "prometheus" else "1m",
        "time": {"from": "now-30m" if source == "prometheus" else "now-3h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [chosen, *variables]},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


OURS = f'{{function="{SCORE}"}}'


def rate(metric, selector=OURS):
    return f"sum(rate({metric}{selector}[{RATE}]))"


DECIDED = rate("centinela_decided_total")


def count(metric):
    """A count that is not there before it first happens: 0, as long as anything is decided."""
    return f"({rate(metric)} or 0 * {DECIDED})"


def quantile(share, metric):
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{OURS}[{RATE}])))"


def laptop():
    average = f'{rate("centinela_processing_seconds_sum")} / {rate("centinela_processing_seconds_count")}'
    p99 = quantile(0.99, "centinela_processing_seconds")
    blocked, guarded = (f'100 * {count(f"centinela_{what}_total")} / {DECIDED}' for what in ("blocked", "guarded"))
    waiting = f"sum(centinela_mapping_lag_records{OURS})"
    errors, refusals = (f"rate(centinela_lambda_{what}_total[{RATE}])" for what in ("errors", "throttles"))
    units = "sum by (table) (rate(centinela_dynamodb_units_total{{kind=\"{}\"}}[$__rate_interval]))"
    speaks = 'centinela_alarm{centinela_alarm="ALARM"}'
    others = f'label_replace(0 * sum({speaks}), "alarm", "all others", "", "")'
    return [
        [
            stat("Alarms that speak", "none", f"sum({speaks})", limit=1),
            stat("Decisions a second", "short", DECIDED),
            stat("Transactions that wait", "short", waiting, limit=LAG),
            stat("Average time", "s", average, limit=SLOW / 1000),
            stat("p99 time", "s", p99, limit=SLOW / 1000),
            stat("Blocked", "percent", blocked, limit=BLOCKED),
            stat("Dead-lettered", "short", 'round(sum(increase(centinela_seen_total{what="dead_lettered"}[$__range])))', limit=1, about="In the time that is shown."),
            stat("Cost per million", "currencyUSD", 'centinela_alarm_value{alarm=~".*centinela-cost-per-million"}', about="As its alarm reckons: over whole five minutes, from 1,000 decisions on."),
        ],
        [
            prometheus("Decisions a second", "short", (rate("centinela_approved_total"), "approved"), (count("centinela_review_total"), "review"), (count("centinela_blocked_total"), "blocked"), stacked=True),
            prometheus("From the broker's time to the decision", "s", (average, "average"), (p99, "p99"), limit=SLOW / 1000),
            prometheus("Blocked and guarded", "percent", (blocked, "blocked"), (guarded, "guarded"), limit=BLOCKED, about="Guarded: the fallback has decided, because the model would have blocked too much."),
        ],
        [
            prometheus("Transactions that wait", "short", (waiting, "waiting"), limit=LAG),
            prometheus("Failures and repeats a second", "short", (count("centinela_parked_total"), "dead-lettered"), (count("centinela_unsettled_total"), "delivered again"), (count("centinela_conflicts_total"), "lost races"), (count("centinela_duplicates_total"), "duplicates"), (count("centinela_replayed_total"), "replayed")),
            prometheus("Alarms that speak", "none", (f"max by (alarm) ({speaks}) > 0", "{{alarm}}"), (others, "{{alarm}}"), kind="state-timeline"),
        ],
        [
            prometheus("Other records that wait", "short", (f'max by (function) (centinela_mapping_lag_records{{function!="{SCORE}"}})', "{{function}}"), about="Of the topic of which most wait. Some functions are given whole batches only, or a minute's records."),
            prometheus("Invocations a second", "short", (f"sum by (function) (rate(centinela_lambda_invocations_total[{RATE}])) > 0", "{{function}}")),
            prometheus("Errors and refusals a second", "short", (f"sum by (function) ({errors}) > 0", "{{function}} fails"), (f"sum by (function) ({refusals}) > 0", "{{function}} is refused"), (f"sum({errors})", "all errors"), (f"sum({refusals})", "all refusals")),
        ],
        [
            prometheus("Write units of the tables a second", "short", (units.format("write"), "{{table}}"), width=12),
            prometheus("Read units of the tables a second", "short", (units.format("read"), "{{table}}"), width=12),
        ],
    ]


def aws():
    # A list of values is taken as it stands; in a single one Grafana puts the prefix in.
    ours = {"Function": f"${{prefix}}{SCORE}"}
    function = {"FunctionName": f"${{prefix}}{SCORE}"}
    group = {"Cluster Name": "${prefix}centinela", "Consumer Group": SCORE, "Topic": "transactions"}
    users = {"TableName": "${prefix}user_state"}
    stream = {"StreamName": "${prefix}decisions"}
    decided, blocked = (("Centinela", metric, ours, "Sum", metric.lower()) for metric in ("Decided", "Blocked"))
    units = ("AWS/DynamoDB", "ProvisionedWriteCapacityUnits", users, "Average", "units")
    busy = ("AWS/Lambda", "Duration", function, "Sum", "busy")
    cost = (
        f"IF(decided >= 1000, 1000000 * ({PROD['CostFixedUsdPerHour']} / 12 + {PROD['CostUsdPerWriteUnit']} * FILL(units, 0)"
        f" + {PROD['CostUsdPerMillisecond']} * FILL(busy, 0)) / decided, 0)"
    )
    share = "IF(decided >= 100, 100 * FILL(blocked, 0) / decided, 0)"
    return [
        [
            cloudwatch("Decisions a minute", "short", ("Centinela", "Approved", ours, "Sum", "approved"), ("Centinela", "Review", ours, "Sum", "review"), ("Centinela", "Blocked", ours, "Sum", "blocked"), stacked=True, width=6),
            cloudwatch("From the broker's time to the decision", "ms", ("Centinela", "ProcessingMilliseconds", ours, "Average", "average"), ("Centinela", "ProcessingMilliseconds", ours, "p99", "p99"), limit=SLOW, width=6),
            cloudwatch("Blocked", "percent", decided, blocked, period=300, formula=(share, "blocked"), limit=BLOCKED, width=6),
            cloudwatch("A million decisions cost", "currencyUSD", decided, units, busy, period=300, formula=(cost, "USD"), limit=float(PROD["CostUsdPerMillionMax"]), width=6, about="As the alarm reckons, with production's parameters."),
        ],
        [
            cloudwatch("Transactions that wait", "short", ("AWS/Kafka", "SumOffsetLag", group, "Maximum", "waiting"), limit=LAG),
            cloudwatch("Oldest record when it was answered", "ms", ("Centinela", "OldestRecordMilliseconds", ours, "Maximum", "oldest record"), limit=30_000),
            cloudwatch("Failures and repeats a minute", "short", ("Centinela", "Parked", ours, "Sum", "dead-lettered"), ("Centinela", "Unsettled", ours, "Sum", "delivered again"), ("Centinela", "Conflicts", ours, "Sum", "lost races"), ("Centinela", "Duplicates", ours, "Sum", "duplicates")),
        ],
        [
            cloudwatch("Errors and refusals a minute", "short", ("AWS/Lambda", "Errors", function, "Sum", "fails"), ("AWS/Lambda", "Throttles", function, "Sum", "is refused")),
            cloudwatch("Concurrent executions", "short", ("AWS/Lambda", "ConcurrentExecutions", function, "Maximum", SCORE)),
            cloudwatch("Records of the stream a minute", "short", ("AWS/Kinesis", "IncomingRecords", stream, "Sum", "records"), ("AWS/Kinesis", "WriteProvisionedThroughputExceeded", stream, "Sum", "refused")),
        ],
        [
            cloudwatch("Units of the users' table a minute", "short", ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", users, "Sum", "writes"), ("AWS/DynamoDB", "ConsumedReadCapacityUnits", users, "Sum", "reads"), width=12),
            cloudwatch("Throttled by the users' table a minute", "short", ("AWS/DynamoDB", "WriteThrottleEvents", users, "Sum", "writes"), ("AWS/DynamoDB", "ReadThrottleEvents", users, "Sum", "reads"), width=12),
        ],
    ]


PREFIX = {"name": "prefix", "label": "Prefix of the stacks", "type": "textbox", "query": ""}
BOARDS = {
    "centinela.json": board("centinela", "Centinela", "prometheus", "A running system, by what /metrics serves.", laptop()),
    "cloudwatch.json": board("centinela-aws", "Centinela in AWS", "cloudwatch", "The same in AWS.", aws(), PREFIX),
}


def main():
    for name, content in BOARDS.items():
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
