"""Medians, tables, and the page that they stand in."""

import re
import statistics

from . import contenders, fetch
from .words import Failed

BEGIN = "<!-- contenders: written by `bench/run --page` -->"
END = "<!-- end of the contenders -->"
NONE = "–"
# A sender that was held up for longer has sent at another rate.
BEHIND_MAX_MS = 1_000


def fault(report):
    """What is wrong with what a contender did, or None. A duplicate that comes again with another outcome is the contender's own affair."""
    if report["decided"] < report["sent"]:
        missing = f"{report['sent'] - report['decided']} of {report['sent']} transactions were not decided in time"
        return f"{missing}; their reader's first complaint: {report['problem']}" if report["problem"] else missing
    if not report["measured"]:
        return "its decisions were seen all at once: none lies between the shares at which the figures begin and end"
    if report["unknown"]:
        return f"{report['unknown']} decisions are on no transaction that was sent"
    if report["behind_ms"] > BEHIND_MAX_MS:
        return f"records were sent up to {report['behind_ms']:,.0f} ms too late: its rate was not that of the others"
    return None


def of(kept, arguments):
    """The page's text, from what `bench/run --json` keeps."""
    reports, busy, profile = kept["reports"], kept["busy"], kept["profile"]
    built = f"{profile}, built for {fetch.PROCESSOR}" if profile == fetch.SHIPPED else profile
    lines = [f"Measured on {kept['machine']}{'; ' + busy if busy else ''}, at commit {kept['commit']}, profile {built}. "
             f"Medians of {arguments.repeat} alternating runs; memory is the most of all."]
    if arguments.quick:
        lines.append("These are quick runs: they show that everything works, not how fast it is.")
    for mode, size in dict.fromkeys((report["mode"], report["size"]) for report in reports):
        of_row = [report for report in reports if (report["mode"], report["size"]) == (mode, size)]
        by_name = {}
        for report in of_row:
            by_name.setdefault(report["contender"], []).append(report)
        lines += ["", *(live(size, by_name, arguments) if mode == "live" else backlog(size, by_name))]
    lines += ["", "### What each guarantees", "", "| contender | what it is | what it guarantees |", "| --- | --- | --- |"]
    lines += [f"| {one.name} | {one.says} | {one.guarantees} |" for one in contenders.ALL.values()]
    lines += ["", *(f"- `{name}` was skipped: {why}" for name, why in kept["skipped"].items())]
    lines += [f"- A run failed: {why}" for why in kept["failed"]]
    faults = [(report, fault(report)) for report in reports]
    lines += [f"- Turn {report['turn']}, {report['contender']}, {report['mode']} {report['size']:,}: {why}" for report, why in faults if why]
    return "\n".join(lines).rstrip() + "\n"


def live(rate, by_name, arguments):
    head = [f"### Live, {rate:,} records a second for {arguments.seconds} s", "",
            "CPU in µs per decision; latency in ms from the intended send time to a reader that has the decision.", "",
            "| contender | function or job | beside it | Kafka | function or job, to Flink's | with what is beside it, to Flink's | p50 | p99 |"
            " p99.9 | memory, MB | machine busy | decided | again |", "| --- |" + " ---: |" * 12]
    rows = []
    for name, reports in by_name.items():
        latency = [report.get("latency_ms") or {} for report in reports]
        quantiles = [figure(median(one.get(quantile) for one in latency)) for quantile in ("p50", "p99", "p999")]
        cells = [name, *costs(reports), *ratios(reports, by_name), *quantiles, memory(reports), busy(reports), *counted(reports)]
        rows.append("| " + " | ".join(cells) + " |")
    return head + rows


def backlog(records, by_name):
    head = [f"### A backlog of {records:,}, from 30 to 80 % of it", "",
            "| contender | decisions/s | function or job | beside it | Kafka | function or job, to Flink's | with what is beside it, to Flink's |"
            " first decision, s | memory, MB | decided | again |", "| --- |" + " ---: |" * 10]
    rows = []
    for name, reports in by_name.items():
        speed = f"{median(report['tx_s'] for report in reports):,.0f}"
        first = figure(median(report.get("first_decision_s") for report in reports))
        cells = [name, speed, *costs(reports), *ratios(reports, by_name), first, memory(reports), *counted(reports)]
        rows.append("| " + " | ".join(cells) + " |")
    return head + rows


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def figure(value):
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def costs(reports):
    """Of the function or job, of what stands beside it, and of Kafka."""
    own = median(report["cpu"]["contender"]["own_us"] for report in reports)
    children = median(report["cpu"]["contender"]["children_us"] for report in reports)
    kafka = figure(median(report["cpu"]["kafka"]["own_us"] for report in reports))
    return [figure(children), figure(own), kafka] if reports[0]["is_hosted"] else [figure(own), NONE, kafka]


def spent(reports, *parts):
    return median(sum(report["cpu"]["contender"][part] for part in parts) for report in reports)


def ratios(reports, by_name):
    """CPU time in times of Flink's in the same table: of the function or job, and with what stands beside it."""
    flink = by_name.get("flink-at-least-once")
    if not flink:
        return [NONE, NONE]
    whole = ("own_us", "children_us")
    alone = ("children_us",) if reports[0]["is_hosted"] else whole
    return [f"{spent(reports, *parts) / max(0.1, spent(flink, *whole)):.2f}" for parts in (alone, whole)]


def memory(reports):
    return figure(float(max(report["cpu"]["contender"]["rss_mb"] for report in reports)))


def busy(reports):
    share = median(report.get("machine_busy") for report in reports)
    return NONE if share is None else f"{100 * share:.0f} %"


def counted(reports):
    """Decided of those that were sent, and how many came again, with the same outcome and with another."""
    decided, sent = (sum(report[field] for report in reports) for field in ("decided", "sent"))
    again, other = (sum(report[field] for report in reports) for field in ("repeated", "contradicted"))
    return [f"{decided:,} of {sent:,}", f"{again} / {other}" if other else str(again)]


def pieces(text, counted):
    """A page with these figures in the rows of the pieces that `bench/instructions` counts."""
    for name, count in counted.items():
        text = re.sub(rf"^(\| `{name}` \|.*\| )[\d,]+ \|$", rf"\g<1>{count:,} |", text, flags=re.M)
    return text


def check_page(path):
    text = path.read_text() if path.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise Failed(f"{path} must have the line `{BEGIN}` once, and `{END}` behind it")


def fill_page(path, text):
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
