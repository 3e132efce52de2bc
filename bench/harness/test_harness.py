"""What the tables say of runs, and what is not taken for a jar."""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import maven

from . import contenders, fetch, runs, table
from .words import Failed


def report(name, mode="live", size=1_667, own=100.0, children=50.0, p50=8.0, **more):
    cost = {"own_us": own, "children_us": children, "rss_mb": 300}
    return {"contender": name, "mode": mode, "size": size, "turn": 1, "sent": 10, "decided": 10, "measured": 5, "repeated": 0,
            "contradicted": 0, "unknown": 0, "behind_ms": 4.0, "tx_s": 1_000.0, "problem": None,
            "first_decision_s": 1.5, "latency_ms": {"p50": p50, "p99": 20.0, "p999": 30.0}, "machine_busy": 0.5,
            "is_hosted": name == "centinela", "cpu": {"contender": cost, "kafka": {"own_us": 70.0}}, **more}


def tables(reports, skipped=(), failed=(), profile="release"):
    arguments = argparse.Namespace(repeat=3, quick=False, seconds=60)
    kept = {"machine": "a machine", "commit": "abc", "profile": profile, "busy": None, "skipped": dict(skipped), "failed": failed,
            "reports": reports}
    return table.of(kept, arguments)


class Tables(unittest.TestCase):
    def test_a_figure_is_the_median_of_its_runs_and_its_ratio_is_to_flink_of_the_same_row(self):
        flink = [report("flink-at-least-once", own=200.0, children=0.0, p50=p50) for p50 in (9.0, 7.0, 90.0)]
        text = tables([report("centinela"), *flink])
        self.assertIn("| centinela | 50.0 | 100 | 70.0 | 0.25 | 0.75 | 8.0 |", text)
        self.assertIn("| flink-at-least-once | 200 | – | 70.0 | 1.00 | 1.00 | 9.0 |", text)

    def test_a_row_without_flink_has_no_ratio_and_a_skipped_contender_says_why(self):
        text = tables([report("centinela", mode="backlog", size=300_000)], [("spark", "there is no mvn")])
        self.assertIn("A backlog of 300,000", text)
        self.assertIn("| centinela | 1,000 | 50.0 | 100 | 70.0 | – | – | 1.5 |", text)
        self.assertIn("- `spark` was skipped: there is no mvn", text)

    def test_two_answers_to_one_transaction_stand_beside_those_that_came_twice(self):
        self.assertIn("| 10 of 10 | 7 / 2 |", tables([report("centinela", repeated=7, contradicted=2)]))

    def test_a_decision_that_is_missing_is_a_fault(self):
        self.assertIsNone(table.fault(report("centinela")))
        self.assertIn("3 of 10", table.fault(report("centinela", decided=7)))
        self.assertIn("3 of 10", tables([report("centinela", decided=7)]))
        self.assertIn("broker is down", table.fault(report("centinela", decided=7, problem="the broker is down")))

    def test_a_decision_on_nothing_and_a_sender_that_was_held_up_are_faults(self):
        self.assertIn("no transaction", table.fault(report("centinela", unknown=1)))
        self.assertIn("2,000 ms too late", table.fault(report("centinela", behind_ms=2_000.0)))

    def test_a_backlog_that_was_seen_all_at_once_has_no_figures(self):
        self.assertIn("all at once", table.fault(report("flink-exactly-once", mode="backlog", measured=0)))

    def test_the_page_says_which_processor_a_build_is_for(self):
        self.assertIn(f"profile ship, built for {fetch.PROCESSOR}.", tables([report("centinela")], profile="ship"))
        self.assertIn("profile release.", tables([report("centinela")]))

    def test_what_ships_does_not_take_sha_instructions_for_granted(self):
        flags = fetch.rustflags("ship")["RUSTFLAGS"].split()
        known = subprocess.run(["rustc", *flags, "--print", "cfg"], cwd=fetch.REPOSITORY, capture_output=True, text=True, check=True).stdout
        self.assertIn("target_feature=", known)
        self.assertNotIn('target_feature="sha"', known.splitlines())

    def test_a_run_that_failed_stands_below_the_tables(self):
        self.assertIn("- A run failed: spark ended", tables([report("centinela")], failed=["spark ended"]))

    def test_a_page_is_filled_between_its_marks_and_a_page_without_them_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            page = pathlib.Path(directory, "page.md")
            page.write_text("before\n")
            self.assertRaises(Failed, table.check_page, page)
            page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
            table.check_page(page)
            table.fill_page(page, "new\n")
            self.assertEqual(page.read_text(), f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n")

    def test_the_benchmarks_say_of_every_piece_what_it_may_cost(self):
        page = (fetch.REPOSITORY / "docs/benchmarks.md").read_text()
        kept = json.loads((fetch.BENCH / "instructions.json").read_text())["kernels"]
        self.assertEqual(page, table.pieces(page, kept))
        self.assertEqual([], [name for name in kept if f"\n| `{name}` |" not in page])
        self.assertIn("a batch of 10 | 1,234 |\n", table.pieces(page, {"floor-10": 1_234}))


class Parts(unittest.TestCase):
    def test_every_contender_says_what_it_is_and_what_it_guarantees(self):
        for name, contender in contenders.ALL.items():
            self.assertEqual(name, contender.name)
            self.assertTrue(contender.says and contender.guarantees and "|" not in contender.says + contender.guarantees)

    def test_a_jar_that_is_not_what_is_listed_is_found(self):
        with tempfile.TemporaryDirectory() as directory:
            lib = pathlib.Path(directory, "lib")
            lib.mkdir()
            good = lib / "good.jar"
            good.write_bytes(b"good")
            digests = pathlib.Path(directory, "jars.sha256")
            digests.write_text(f"{hashlib.sha256(b'good').hexdigest()}  good.jar\n")
            self.assertIsNone(maven.problem(digests, lib))
            (lib / "stray.jar").write_bytes(b"")
            self.assertIn("stray.jar", maven.problem(digests, lib))
            (lib / "stray.jar").unlink()
            good.write_bytes(b"bad")
            self.assertIn("good.jar has the digest", maven.problem(digests, lib))
            good.unlink()
            self.assertIn("good.jar is missing", maven.problem(digests, lib))


class CommandLine(unittest.TestCase):
    def test_some_contenders_do_not_replace_the_tables_of_all(self):
        for some in (["spark"], ["--only", "live"]):
            ended = subprocess.run([sys.executable, fetch.BENCH / "run", "--page", "page.md", *some], capture_output=True, text=True)
            self.assertEqual(2, ended.returncode)
            self.assertIn("--page replaces the tables of all contenders", ended.stderr)


class Runs(unittest.TestCase):
    def test_a_harness_that_ended_before_it_was_told_whom_to_watch_has_failed_and_the_contenders_last_words_are_given(self):
        started = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   start_new_session=True)
        with tempfile.TemporaryFile("w+") as log, runs.ended(started) as harness, harness.stdout:
            harness.wait()
            log.write("no broker\nno model\n")
            with self.assertRaisesRegex(Failed, r"whom to watch.*no broker \| no model"):
                runs.tell(harness, {"processes": {}}, log)
            with self.assertRaisesRegex(Failed, "without a report.*no model"):
                runs.line(harness, None, log)


if __name__ == "__main__":
    unittest.main()
